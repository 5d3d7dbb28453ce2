"""Selects which values of a config enter a fingerprint, as each config class says in `not_fingerprinted` and others."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter

from agar_pipeline.config.file_content import named_by_content


def fingerprinted(config: Any) -> dict[str, Any]:
    """Return the values of a config that enter a fingerprint: all fields but those in the class's `not_fingerprinted`.

    The files in `by_content` enter by the hash of their content: replacing a file changes the fingerprint, moving it
    does not. The fields in `fingerprinted_if_set` do not enter if they are None: fingerprints from before a key existed
    stay valid.
    """
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in getattr(config, "not_fingerprinted", ()):
            continue
        if value is None and field.name in getattr(config, "fingerprinted_if_set", ()):
            continue
        if field.name in getattr(config, "by_content", ()):
            value = named_by_content(value)
        plain[field.name] = fingerprinted(value) if dataclasses.is_dataclass(value) else value
    return TypeAdapter(dict[str, Any]).dump_python(plain, mode="json")
