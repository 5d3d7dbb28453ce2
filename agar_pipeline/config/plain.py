"""Configs as plain values and back, checked; and what of a config enters a fingerprint."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from agar_pipeline.errors import ConfigError

STRICT = ConfigDict(extra="forbid")
T = TypeVar("T")


def to_plain(config: Any) -> dict[str, Any]:
    """A config dataclass as plain, JSON-ready values."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def fingerprinted(config: Any) -> dict[str, Any]:
    """What of a config enters a fingerprint: all of it but the fields that each class names in `not_fingerprinted`."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in getattr(config, "not_fingerprinted", ()):
            continue
        plain[field.name] = fingerprinted(value) if dataclasses.is_dataclass(value) else value
    return TypeAdapter(dict[str, Any]).dump_python(plain, mode="json")


def from_plain(config_type: type[T], plain: Mapping[str, Any], where: str) -> T:
    """Check plain values into a config dataclass.

    Raises:
        ConfigError: names the key, the value, `where` it stands, and the nearest known key.
    """
    try:
        return TypeAdapter(config_type).validate_python(plain)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_explain(config_type, item) for item in error.errors())) from error


def _explain(config_type: type, item: Mapping[str, Any]) -> str:
    path = ".".join(str(step) for step in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "unexpected_keyword_argument":
        known = _known_keys(config_type)
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.4)
        return f"unknown key {path}" + (f", did you mean {near[0]}?" if near else f"; known: {', '.join(known)}")
    if item["type"] in {"missing", "missing_argument"}:
        return f"{path} is missing"
    value = (
        "" if isinstance(item["input"], Mapping) or dataclasses.is_dataclass(item["input"]) else f" = {item['input']!r}"
    )
    return f"{path}{value}: {message}" if path else message


def _known_keys(config_type: type, prefix: str = "") -> list[str]:
    keys: list[str] = []
    hints = get_type_hints(config_type)
    for field in dataclasses.fields(config_type):
        keys.append(prefix + field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            keys += _known_keys(hints[field.name], f"{prefix}{field.name}.")
    return keys
