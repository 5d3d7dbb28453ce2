"""Converts configs to plain values and back, with checks."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from agar_pipeline.errors import ConfigError

STRICT = ConfigDict(extra="forbid")
Share = Annotated[float, Field(ge=0, lt=1)]
T = TypeVar("T")
_NOT_CALLED = "default_factory_not_called"
"""Pydantic's error type for a default that depends on an invalid value. It is left out; the value has its own error."""


def to_plain(config: Any) -> dict[str, Any]:
    """Convert a config dataclass to plain, JSON-ready values."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def from_plain(
    config_type: type[T],
    plain: Mapping[str, Any],
    where: str,
    source_of: Callable[[str], str] = lambda path: "",
) -> T:
    """Check plain values and convert them into a config dataclass.

    Args:
        config_type: The dataclass.
        plain: The composed or received values.
        where: The file that they are from, for messages.
        source_of: Dotted key → what set it, if that is another file or a word of the command line.

    Raises:
        ConfigError: names the key, the value, `where` it is, and the nearest known key.

    >>> from agar_pipeline.config.optimizer import OptimizerConfig
    >>> from_plain(OptimizerConfig, {"name": "sgd", "lr": 0.01}, where="configs/optimizer/sgd.yaml").lr
    0.01
    >>> from_plain(OptimizerConfig, {"lrr": 0.01}, where="configs/optimizer/sgd.yaml")
    Traceback (most recent call last):
    agar_pipeline.errors.ConfigError: configs/optimizer/sgd.yaml: unknown key lrr, did you mean lr?
    """
    try:
        config = TypeAdapter(config_type).validate_python(plain)
    except ValidationError as error:
        wrong = _without_choices([item for item in error.errors() if item["type"] != _NOT_CALLED])
        raise ConfigError(f"{where}: " + "; ".join(_explain(config_type, item, source_of) for item in wrong)) from error
    for path, value in _booleans_become_numbers(plain, to_plain(config)):
        raise ConfigError(f"{where}: {path} = {value}", next_step="a number is due, not true or false")
    return config


def _booleans_become_numbers(said: Any, kept: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the places where a boolean would be converted to a number: `batch_size: yes` would become 1."""
    if isinstance(said, bool) and not isinstance(kept, bool):
        yield path, said
    elif isinstance(said, Mapping):
        for key in said.keys() & kept.keys():
            yield from _booleans_become_numbers(said[key], kept[key], f"{path}.{key}".lstrip("."))
    elif isinstance(said, list | tuple):
        for index, (one, other) in enumerate(zip(said, kept, strict=True)):
            yield from _booleans_become_numbers(one, other, f"{path}[{index}]")


def _without_choices(wrong: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Merge pydantic's errors where a key takes `auto` as well as a number.

    Pydantic reports one error for each type of the union. The error about `auto` is added to the message of the other
    one.
    """
    plain: list[dict[str, Any]] = [
        {**item, "loc": tuple(step for step in item["loc"] if not _is_choice(step))} for item in wrong
    ]
    told = []
    for item in plain:
        below = [other for other in plain if other is not item and other["loc"][: len(item["loc"])] == item["loc"]]
        if item["type"] == "literal_error" and any(other["type"] != "literal_error" for other in below):
            for other in below:
                if other["loc"] == item["loc"] and other["type"] != "value_error":
                    other["msg"] += f", or {item['ctx']['expected'].strip(chr(39))}"
        else:
            told.append(item)
    return told


def _is_choice(step: str | int) -> bool:
    """Whether a step of an error's location names a type of a union rather than a key."""
    return str(step).endswith("SnapshotConfig") or str(step).startswith(("constrained-", "literal[", "function-"))


def _explain(config_type: type, item: Mapping[str, Any], source_of: Callable[[str], str]) -> str:
    steps = [str(step) for step in item["loc"]]
    path = ".".join(step if step.isprintable() else repr(step) for step in steps)
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "unexpected_keyword_argument":
        return f"unknown key {path}{nearest_key(path, known_keys(config_type))}"
    if item["type"] in {"missing", "missing_argument"}:
        return f"{path} is missing"
    if steps[-1:] == ["[key]"]:
        where = ".".join(steps[:-2])
        return f"{where}: the key {item['input']!r}, as YAML reads it, is no text: write it in quotes"
    value = (
        "" if isinstance(item["input"], Mapping) or dataclasses.is_dataclass(item["input"]) else f" = {item['input']!r}"
    )
    if not path:
        return message
    if item["type"] == "string_type" and isinstance(item["input"], bool | int | float | datetime.date):
        message += ", write it in quotes"
    source = source_of(".".join(steps))
    return f"{path}{value}: {message}" + (f" (from {source})" if source else "")


def nearest_key(path: str, known: Sequence[str]) -> str:
    """Suggest a key as `, did you mean …?`, or list the known ones.

    A key with the same last word elsewhere (model.lr → optimizer.lr) comes first, else one with a similar name.
    """
    last = path.rpartition(".")[2]
    elsewhere = [key for key in known if key.rpartition(".")[2] == last]
    near = elsewhere or difflib.get_close_matches(path, known, n=1, cutoff=0.4)
    if not near:
        near = [key for key in known if difflib.get_close_matches(last, [key.rpartition(".")[2]], cutoff=0.7)]
    if near:
        return f", did you mean {' or '.join(near[:3])}?"
    beside = [key for key in known if key.rpartition(".")[0] == path.rpartition(".")[0]]
    return f"; known: {', '.join(dict.fromkeys(beside or known))}"


def known_keys(config_type: type, prefix: str = "") -> list[str]:
    """Return every dotted key of a config class and of the config classes inside it."""
    keys: list[str] = []
    hints = get_type_hints(config_type)
    for field in dataclasses.fields(config_type):
        keys.append(prefix + field.name)
        for hint in (hints[field.name], *get_args(hints[field.name])):
            if dataclasses.is_dataclass(hint):
                keys += known_keys(hint, f"{prefix}{field.name}.")  # type: ignore[arg-type]
    return keys
