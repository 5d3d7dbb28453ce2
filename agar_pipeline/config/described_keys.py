"""Describes every key of the config files: its values, its default, and what stands under its field in the code.

Here: the descriptions, in Markdown. Not here: the layout of the reference page, of `agar config --keys`
(`commands.config`).
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import yaml


@dataclasses.dataclass(frozen=True)
class DescribedKey:
    """One key as the user of a config file needs it. All fields are Markdown in one line."""

    name: str
    values: str
    default: str
    about: str


@dataclasses.dataclass(frozen=True)
class DescribedConfig:
    """One class of settings, with its keys in the order of the code."""

    name: str
    about: str
    keys: tuple[DescribedKey, ...]


def describe_configs(config_type: type, seen: set[type] | None = None) -> Iterator[DescribedConfig]:
    """Describe a config class, then each of the classes that its keys hold, each once."""
    seen = set() if seen is None else seen
    seen.add(config_type)
    docs, hints = _docs_of_fields(config_type), typing.get_type_hints(config_type, include_extras=True)
    keys = tuple(
        DescribedKey(field.name, _spell_type(hints[field.name]), _spell_default(field), docs.get(field.name, ""))
        for field in dataclasses.fields(config_type)
        if not docs.get(field.name, "").startswith("Filled in")  # by this package, not by the user's file
    )
    yield DescribedConfig(config_type.__name__, inspect.getdoc(config_type) or "", keys)
    for below in (found for hint in hints.values() for found in _configs_in(hint) if found not in seen):
        yield from describe_configs(below, seen)


def without_links(markdown: str) -> str:
    """Reduce Markdown to the text that a terminal shows.

    >>> without_links("a [rule](#box-rules) → `fail`")
    'a rule → fail'
    """
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "")


def _docs_of_fields(config_type: type) -> dict[str, str]:
    """Return the string under each field."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(config_type))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        line.target.id: " ".join(after.value.value.split())
        for line, after in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
    }


def _spell_type(hint: Any, limits: str = "") -> str:
    """Write a type as YAML has it: the possible words, numbers with their limits, links to other tables."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        bounds = [bound for extra in inner[1:] for bound in getattr(extra, "metadata", [])]
        return _spell_type(inner[0], _spell_limits(bounds))
    if origin is typing.Literal:
        rules = len(inner) > 10  # they have a table of their own
        return "a [rule](#box-rules)" if rules else ", ".join(f"`{_spell_value(value)}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_spell_type(choice) for choice in inner)
    if origin is tuple:
        return f"list of {_spell_type(inner[0])}"
    if origin in (dict, Mapping):
        return f"{_spell_type(inner[0])} → {_spell_type(inner[1])}"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    words = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", type(None): "`null`"}
    return words[hint] + limits


def _spell_limits(bounds: list[Any]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    said = [(name, value) for bound in bounds for name, value in dataclasses.asdict(bound).items() if name in signs]
    return " " + ", ".join(f"{signs[name]} {value:,}" for name, value in said) if said else ""


def _spell_default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "required"
    made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    if dataclasses.is_dataclass(made) or hasattr(made, "default_factory"):  # its own table describes it
        return ""
    return f"`{_spell_value(made)}`"


def _spell_value(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True).removesuffix("...\n").strip()


def _configs_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from _configs_in(inner)
