"""The OpenAPI document as Markdown, for people who would rather read a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
_HEAD = """# HTTP reference

Every path, parameter and field, made from the OpenAPI document by
`healer openapi --output markdown`. What they mean together is in [api.md](api.md).
"""


def render_reference(document: Schema) -> str:
    parts = [_HEAD]
    for path, verbs in document["paths"].items():
        # Sorted, for a route of two verbs keeps them in a set.
        for verb, operation in sorted(verbs.items()):
            parts.append("\n".join(_operation(path, verb, operation)))
    parts.append("## Schemas\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append("\n".join(_schema(name, schema)))
    return "\n".join(parts).rstrip() + "\n"


def _operation(path: str, verb: str, operation: Schema) -> Iterator[str]:
    yield f"## {verb.upper()} {path}\n"
    about = operation.get("description") or operation.get("summary", "")
    yield f"{_line(about)}\n" if about else ""
    if operation.get("security") == []:
        yield "No token is needed.\n"
    parameters = operation.get("parameters", ())
    if parameters:
        yield "| Parameter | In | Type | |\n|---|---|---|---|"
        for each in parameters:
            need = "required" if each.get("required") else ""
            default = each["schema"].get("default")
            said = f"default `{default}`" if default not in (None, "", []) else need
            yield f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {said} |"
        yield ""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body: `{kind}`, {_type(content['schema'])}.\n"
    yield "| Status | Body |\n|---|---|"
    alike: dict[str, list[str]] = {}
    for status, answer in sorted(operation["responses"].items()):
        alike.setdefault(_body(answer), []).append(status)
    for body, statuses in alike.items():
        yield f"| {', '.join(statuses)} | {body} |"
    yield ""


def _body(answer: Schema) -> str:
    bodies = [
        f"`{kind}` {_type(content['schema'])}" if content.get("schema") else f"`{kind}`"
        for kind, content in answer.get("content", {}).items()
    ]
    return ", ".join(bodies) or _line(answer.get("description", ""))


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield f"{_line(schema['description'])}\n"
    if "enum" in schema:
        yield f"One of {', '.join(f'`{each}`' for each in schema['enum'])}.\n"
    fields = schema.get("properties", {})
    if not fields:
        return
    required = schema.get("required", ())
    yield "| Field | Type | |\n|---|---|---|"
    for field, found in fields.items():
        need = "" if field in required else "optional"
        yield f"| `{field}` | {_type(found)} | {_line(found.get('description', '')) or need} |"
    yield ""


def _type(schema: Schema) -> str:
    """`array of Summary`, `string or null`, with its limits."""
    if ref := schema.get("$ref"):
        name = ref.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[key]))
    if "allOf" in schema:
        return _type(schema["allOf"][0])
    if known := schema.get("enum") or [schema[key] for key in ("const",) if key in schema]:
        return ", ".join(f"`{each}`" for each in known)
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    limits = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "at least"), ("maximum", "at most"),
                          ("minLength", "at least"), ("maxLength", "at most"))
        if key in schema
    ]  # fmt: skip
    form = schema.get("format")
    return " ".join([kind, *([f"({form})"] if form else []), *limits])


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
