"""Makes the pictures of the documentation: `python tools/pictures.py [--only chat|pages]`.

Pages are photographed from a server with invented incidents (`tests/shown_site.py`). Chat messages
are the payloads that the notifiers make of the same incidents, drawn in a frame like a chat's: what
stands in them is exact, how a client draws it differs from version to version. Needs Chromium and
the test extra.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import markdown
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers import binary  # noqa: E402  tests are no package
from shown_site import ENDED_ID, OPEN_ID, shown_deps, shown_site  # noqa: E402

from healer.adapters.routing import Routing  # noqa: E402
from healer.model.incident import Phase, Severity  # noqa: E402
from healer.model.message import Notice, Occasion  # noqa: E402
from healer.model.target import Kind, Target  # noqa: E402
from healer.notifiers.dingtalk import DingTalk  # noqa: E402
from healer.notifiers.feishu import Feishu  # noqa: E402
from healer.notifiers.slack import Slack  # noqa: E402
from healer.notifiers.wecom import WeCom  # noqa: E402
from healer.server import ServerDeps  # noqa: E402
from healer.settings import Channel, NotifySettings  # noqa: E402
from healer.spoken import spoken_notice  # noqa: E402

IMAGES = ROOT / "docs" / "images"
BASE = "https://healer.example.com"
ROBOT = "https://robot.example.com/send?key=picture"

SHOTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("page-overview", "/", {"locale": "en-GB"}),
    ("page-overview-zh-dark", "/", {"locale": "zh-CN", "color_scheme": "dark"}),
    ("page-incident", f"/incidents/{OPEN_ID}", {"locale": "en-GB"}),
    ("page-incident-zh-phone", f"/incidents/{OPEN_ID}", {"locale": "zh-CN", "phone": True}),
    ("page-approval", "approval", {"locale": "en-GB"}),
    ("page-link-zh-phone", "link", {"locale": "zh-CN", "phone": True}),
    ("page-signals", "/signals", {"locale": "en-GB"}),
)
"""Name, path, and how it is looked at."""

STYLE = """
body { margin: 0; background: #eef0f3; font: 15px/1.5 system-ui, "Noto Sans CJK SC", sans-serif;
  color: #17202b; width: 560px; padding: 18px; box-sizing: border-box; }
.who { display: flex; align-items: center; gap: 8px; margin: 14px 0 4px; color: #56616f;
  font-size: 13px; }
.who:first-child { margin-top: 0; }
.who i { width: 28px; height: 28px; border-radius: 7px; background: #0a6b3d; color: #fff;
  display: grid; place-items: center; font-style: normal; }
.said { background: #fff; border-radius: 10px; padding: 10px 16px; margin-left: 36px;
  overflow-wrap: anywhere; }
.said h3 { font-size: 16px; margin: 2px 0 6px; } .said p { margin: 3px 0; }
.said ul { margin: 2px 0; padding-left: 20px; }
.said blockquote { margin: 3px 0; padding-left: 10px; border-left: 3px solid #cfd6de;
  color: #56616f; }
.said blockquote p { margin: 0; }
.said a { color: #1257c2; text-decoration: none; }
.said code { background: #eef0f3; border-radius: 4px; padding: 0 4px; font-size: 13px; }
.button { display: block; border-top: 1px solid #e3e7ec; padding: 8px 0; text-align: center; }
.button:first-of-type { margin-top: 8px; }
.head { margin: -10px -16px 8px; padding: 8px 16px; border-radius: 10px 10px 0 0; color: #fff;
  font-weight: 600; }
.head span { color: #fff !important; }
.red { background: #d64541; } .orange { background: #d9822b; } .green { background: #2a8c5a; }
.row { display: inline-block; border: 1px solid #cfd6de; border-radius: 6px; padding: 3px 12px;
  margin: 6px 6px 0 0; }
.fact { display: flex; gap: 12px; } .fact b { font-weight: 400; color: #8a94a0; width: 72px; }
"""


GLYPHS = {
    "🔴": ("●", "#d64541"), "🔎": ("◎", "#1257c2"), "✋": ("■", "#d9822b"), "🔧": ("◆", "#7a3ec8"),
    "✅": ("✔", "#2a8c5a"), "🚨": ("▲", "#d64541"), "📋": ("≡", "#56616f"),
}  # fmt: skip
"""Signs of the messages, drawn so that a machine without a font of emoji shows something."""


def notices(deps: ServerDeps, channel: str) -> Iterator[Notice]:
    """One incident from the first word to its end, with its links."""
    settings = NotifySettings(channels={channel: Channel("x", answer_links=True)})
    routing, now = Routing(deps.store, settings), deps.clock.now()
    broken, healed = deps.store.incident(OPEN_ID), deps.store.incident(ENDED_ID)
    assert broken is not None
    assert healed is not None
    intents = deps.store.intents(incident_id=OPEN_ID)
    page = f"{BASE}/incidents/{OPEN_ID}"
    opened = replace(broken, phase=Phase.OPEN, diagnosis=None)
    for notice in (
        Notice(Occasion.OPENED, opened, now, (), page),
        Notice(Occasion.PROPOSED, broken, now, intents, f"{BASE}/approvals/{intents[0].id}"),
        Notice(Occasion.RESOLVED, healed, now, (), f"{BASE}/incidents/{ENDED_ID}"),
    ):
        yield routing.linked(channel, notice, now)


def flood(deps: ServerDeps) -> tuple[Notice, ...]:
    """Five hundred incidents at once."""
    first = next(iter(notices(deps, "x"))).incident
    kinds = (Severity.CRITICAL, Severity.WARNING, Severity.WARNING)
    found = [
        replace(first, id=f"inc-{n}", title=f"TTFT p95 {10 + n % 30} s, limit 10 s, for 2 min",
                targets=(Target(Kind.POD, f"llama-8b-{n}", "serving", f"uid-{n}"),),
                severity=kinds[n % 3])
        for n in range(500)
    ]  # fmt: skip
    now = deps.clock.now()
    return tuple(Notice(Occasion.OPENED, i, now, (), f"{BASE}/incidents") for i in found)


def dingtalk(payload: dict[str, Any]) -> str:
    kind = payload["msgtype"]
    shown = _markdown(payload[kind]["text"])
    for button in payload[kind].get("btns", ()):
        shown += f'<a class="button">{escape(button["title"])}</a>'
    return shown


def wecom(payload: dict[str, Any]) -> str:
    kind = payload["msgtype"]
    if kind != "template_card":
        return _markdown(payload[kind]["content"])
    card = payload[kind]
    title, facts = card["main_title"], card["horizontal_content_list"]
    shown = f"<p>{escape(card['source']['desc'])}</p><h3>{escape(title['title'])}</h3>"
    shown += f"<p>{escape(title['desc'])}</p><p>{escape(card['sub_title_text'])}</p>"
    for fact in facts:
        shown += f'<div class="fact"><b>{escape(fact["keyname"])}</b>{escape(fact["value"])}</div>'
    for jump in card["jump_list"]:
        shown += f'<a class="button">{escape(jump["title"])}</a>'
    return shown


def feishu(payload: dict[str, Any]) -> str:
    card = payload["card"]
    head = escape(card["header"]["title"]["content"])
    shown = f'<div class="head {card["header"]["template"]}">{head}</div>'
    for element in card["elements"]:
        if element["tag"] == "markdown":
            shown += _markdown(element["content"])
        for action in element.get("actions", ()):
            shown += f'<a class="row">{escape(action["text"]["content"])}</a>'
    return shown


def slack(payload: dict[str, Any]) -> str:
    header, section = payload["blocks"][:2]
    text = section["text"]["text"]
    text = re.sub(r"<([^|>]+)\|([^>]+)>", r"[\2](\1)", text)
    text = re.sub(r"\*([^*\n]+)\*", r"**\1**", text).replace("\n• ", "\n- ")
    return f"<h3>{escape(header['text']['text'])}</h3>{_markdown(text)}"


def _markdown(text: str) -> str:
    lines = re.sub(r"\n+", "\n\n", text)
    lines = re.sub(r"(\n- .*)\n\n(?=- )", r"\1\n", lines)
    lines = re.sub(r"(\n- .*)\n\n(?=- )", r"\1\n", lines)
    made: str = markdown.markdown(lines)
    return made


def conversation(name: str, draw: Any, bodies: list[str]) -> str:
    said = "".join(
        f'<div class="who"><i>✚</i>Healer · {name}</div>'
        f'<div class="said">{draw(json.loads(body))}</div>'
        for body in bodies
    )
    for sign, (glyph, colour) in GLYPHS.items():
        said = said.replace(sign, f'<span style="color:{colour}">{glyph}</span>')
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><body>{said}"


def chats(deps: ServerDeps) -> dict[str, str]:
    """Name of the picture → its page."""
    zh = {"url": ROBOT, "language": "zh", "zone": "Asia/Shanghai"}
    en = {"url": ROBOT, "language": "en", "zone": "Asia/Shanghai"}
    now, zone = deps.clock.now(), "Asia/Shanghai"

    def told(found: Iterable[Notice], language: str) -> list[Notice]:
        return [spoken_notice(each, language, deps.lexicon, zone) for each in found]

    story, english = (told(notices(deps, "x"), language) for language in ("zh", "en"))
    ding, many = DingTalk(**zh), told(flood(deps), "zh")
    return {
        "chat-dingtalk-zh": conversation("钉钉", dingtalk, [ding.render(n) for n in story]),
        "chat-dingtalk-digest-zh": conversation("钉钉", dingtalk, [ding.digest(many, now)]),
        "chat-wecom-card-zh": conversation(
            "企业微信", wecom, [WeCom(**zh, format="template_card").render(story[1])]
        ),
        "chat-feishu-zh": conversation("飞书", feishu, [Feishu(**zh).render(n) for n in story]),
        "chat-slack": conversation("Slack", slack, [Slack(**en).render(n) for n in english]),
    }


def photograph_chats(browser: Browser) -> None:
    with tempfile.TemporaryDirectory() as made:
        deps = shown_deps(Path(made))
        page = browser.new_page(viewport={"width": 560, "height": 400}, device_scale_factor=1.5)
        for name, html in chats(deps).items():
            page.set_content(html)
            page.screenshot(path=IMAGES / f"{name}.png", full_page=True)
        deps.store.close()


def photograph_pages(browser: Browser) -> None:
    with tempfile.TemporaryDirectory() as made, shown_site(Path(made)) as (url, deps):
        (asked,) = deps.store.intents(incident_id=OPEN_ID)
        proposed = list(notices(deps, "x"))[1]
        special = {
            "approval": f"/approvals/{asked.id}",
            "link": proposed.links["answer"].removeprefix(BASE),
        }
        for name, path, look in SHOTS:
            phone = look.get("phone", False)
            context = browser.new_context(
                locale=look["locale"],
                color_scheme=look.get("color_scheme", "light"),
                viewport={"width": 390 if phone else 1160, "height": 844 if phone else 900},
                device_scale_factor=1.5 if phone else 1,
            )
            page = context.new_page()
            page.goto(url + special.get(path, path))
            page.screenshot(path=IMAGES / f"{name}.png", full_page=name != "page-signals")
            context.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=("chat", "pages"))
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(binary("chromium")), args=["--no-sandbox", "--disable-gpu"]
        )
        if given.only != "pages":
            photograph_chats(browser)
        if given.only != "chat":
            photograph_pages(browser)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
