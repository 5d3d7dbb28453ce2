"""Converts configs to plain values and back, with checks."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from agar_pipeline.errors import ConfigError

STRICT = ConfigDict(extra="forbid")
Share = Annotated[float, Field(ge=0, lt=1)]
T = TypeVar("T")
P = ParamSpec("P")
_NOT_CALLED = "default_factory_not_called"
"""Pydantic's error type for a default that depends on an invalid value. It is left out; the value has its own error."""


def collected(check: Callable[P, T]) -> Callable[P, T]:
    """Let a validator raise ConfigError. Pydantic collects only ValueErrors, so that the error is wrapped in one.

    The error's `where` is the key that the validator belongs to, or a key below it.
    """

    @functools.wraps(check)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return check(*args, **kwargs)
        except ConfigError as error:
            raise ValueError(error) from error

    return checked


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
    agar_pipeline.errors.ConfigError: configs/optimizer/sgd.yaml: lrr is an unknown key
    write lr, if you mean that
    """
    try:
        config = TypeAdapter(config_type).validate_python(plain)
    except ValidationError as error:
        wrong = _without_choices([item for item in error.errors() if item["type"] != _NOT_CALLED])
        raise _joined([_explain(config_type, item, where, source_of) for item in wrong], where) from error
    for path, value in _booleans_become_numbers(plain, to_plain(config)):
        raise ConfigError(
            "must be a number, not true or false (YAML reads yes, no, on and off as these)",
            where=f"{where}: {path}",
            value=_spelled(value),
            next_step="write a number",
        )
    return config


def _joined(wrong: Sequence[ConfigError], where: str) -> ConfigError:
    """Return one error for all that is wrong in one place."""
    if len(wrong) == 1:
        return wrong[0]
    problems = "; ".join(error.problem.removeprefix(f"{where}: ") for error in wrong)
    steps = "; ".join(dict.fromkeys(error.next_step for error in wrong if error.next_step))
    return ConfigError(f"has {len(wrong)} wrong settings: {problems}", where=where, next_step=f"{steps}")


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


def _explain(config_type: type, item: Mapping[str, Any], where: str, source_of: Callable[[str], str]) -> ConfigError:
    steps = [str(step) for step in item["loc"]]
    path = ".".join(step if step.isprintable() else repr(step) for step in steps)
    place = f"{where}: {path}" if path else where
    if item["type"] == "unexpected_keyword_argument":
        return ConfigError(
            "is an unknown key", where=place, next_step=f"write {nearest_key(path, known_keys(config_type))}"
        )
    if item["type"] in {"missing", "missing_argument"}:
        return ConfigError("is missing", where=place, next_step="add this key; `agar config --keys` describes it")
    if steps[-1:] == ["[key]"]:
        return ConfigError(
            f"has the key {item['input']!r}, which YAML does not read as text",
            where=f"{where}: {'.'.join(steps[:-2])}",
            next_step="write the key in quotes",
        )
    if isinstance(refused := _refusal_in(item), ConfigError):
        key = path if path.rpartition(".")[2] == refused.where else f"{path}.{refused.where}".lstrip(".")
        source = source_of(key)
        return ConfigError(
            f"{refused.what}{f' (from {source})' if source else ''}",
            where=f"{where}: {key}",
            value=refused.value,
            next_step=f"{refused.next_step}",
        )
    source = source_of(".".join(steps))
    what = f"{_in_words(item['msg'])}{f' (from {source})' if source else ''}"
    value = None if isinstance(item["input"], Mapping | list | tuple) else _spelled(item["input"])
    if item["type"] == "string_type" and isinstance(item["input"], bool | int | float | datetime.date):
        return ConfigError(f"must {what}", where=place, value=value, next_step="write the value in quotes")
    return ConfigError(
        f"must {what}",
        where=place,
        value=value,
        next_step="correct the value; `agar config --keys` says what each key may be",
    )


def _refusal_in(item: Mapping[str, Any]) -> object:
    """Return the ConfigError that a `collected` validator raised; None if pydantic itself refused the value."""
    raised = item.get("ctx", {}).get("error")
    return raised.args[0] if isinstance(raised, ValueError) and raised.args else None


_WORDS = (
    (r", unable to (parse|interpret) [^,]*", ""),
    (r"^\w+ should |^must ", ""),
    (r"a valid integer", "a whole number"),
    (r"a valid number", "a number"),
    (r"a valid string", "text"),
    (r"a valid (tuple|list)", "a list"),
    (r"a valid dictionary|a dictionary or an instance of \w+", "a mapping of keys to values"),
    (r"a valid boolean", "true or false"),
    (r"greater than or equal to ([^ ,]+)", r"\1 or more"),
    (r"less than or equal to ([^ ,]+)", r"\1 or less"),
)
"""Pattern in a message of pydantic → plain words."""


def _in_words(message: str) -> str:
    """Return a message of pydantic as the rest of a sentence that begins with a key and "must".

    >>> _in_words("Input should be greater than or equal to 1"), _in_words("Input should be a valid string")
    ('be 1 or more', 'be text')
    """
    for pattern, words in _WORDS:
        message = re.sub(pattern, words, message)
    return message


def _spelled(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def nearest_key(path: str, known: Sequence[str]) -> str:
    """Suggest a key in place of an unknown one, as the end of a next step.

    A key with the same last word elsewhere (model.lr → optimizer.lr) comes first, else one with a similar name; if
    there is none, all known keys are listed.
    """
    last = path.rpartition(".")[2]
    elsewhere = [key for key in known if key.rpartition(".")[2] == last]
    near = elsewhere or difflib.get_close_matches(path, known, n=1, cutoff=0.4)
    if not near:
        near = [key for key in known if difflib.get_close_matches(last, [key.rpartition(".")[2]], cutoff=0.7)]
    if near:
        return f"{' or '.join(near[:3])}, if you mean that"
    beside = [key for key in known if key.rpartition(".")[0] == path.rpartition(".")[0]]
    return f"one of {', '.join(dict.fromkeys(beside or known))}"


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
