"""Finds plugins by name: a plugin is a module, its class the one frozen dataclass in it.

`find("detectors", "threshold", Detector)` imports `detectors.threshold`; packages named in the
settings are searched after ours, so third parties only add their own package.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeVar, cast

from healer.errors import BadInput
from healer.values import build

T = TypeVar("T")


def names(package: str) -> tuple[str, ...]:
    """The plugins a package holds: its public modules."""
    found = importlib.import_module(package)
    return tuple(m.name for m in pkgutil.iter_modules(found.__path__) if not m.name.startswith("_"))


def find(packages: Sequence[str], name: str, base: type[T] | tuple[type[T], ...]) -> type[T]:
    """The class of plugin `name` in the first package that has it. Raises BadInput."""
    bases = base if isinstance(base, tuple) else (base,)
    known: list[str] = []
    for package in packages:
        have = names(package)
        known += have
        if name in have:
            module = importlib.import_module(f"{package}.{name}")
            for candidate in vars(module).values():
                if (
                    inspect.isclass(candidate)
                    and issubclass(candidate, bases)
                    and is_dataclass(candidate)
                    and candidate.__module__ == module.__name__
                ):
                    return cast("type[T]", candidate)
            raise BadInput(f"a dataclass derived from {bases[0].__name__}", path=module.__name__)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"
    raise BadInput(f"no plugin of that name in {', '.join(packages)}{hint}", value=name)


def make(
    packages: Sequence[str],
    name: str,
    options: Mapping[str, Any],
    base: type[T] | tuple[type[T], ...],
    path: str = "",
) -> T:
    """A plugin built from its options; unknown or ill-typed options raise BadInput."""
    return build(find(packages, name, base), options, path=path or f"{packages[0]}.{name}")
