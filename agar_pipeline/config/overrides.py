"""Checks the `key=value` words of a command line before Hydra parses them, and expands words with several values.

Here: the words of a command line. Not here: composing (`compose`), checking values (`plain_values`).
"""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Sequence

from agar_pipeline.config.experiment import ExperimentConfig
from agar_pipeline.config.places import configs_dir
from agar_pipeline.config.plain_values import known_keys, nearest_key
from agar_pipeline.errors import ConfigError

GROUPS = ("data", "model", "optimizer", "trainer")
"""Groups of `configs/`. A word sets either the whole file, `optimizer=sgd`, or a key of it, `optimizer.lr=0.01`."""


def names_in(group: str) -> list[str]:
    """Return the files of a config group without their endings, sorted."""
    return sorted(path.stem for path in (configs_dir() / group).glob("*.yaml"))


def require_choice(group: str, name: str, how: str = "choose", said_by: str = "") -> None:
    """Raise ConfigError if a group has no such file.

    Args:
        how: How one of the group's files is chosen, for the next step.
        said_by: Source of the name for the message, if it was not typed on the command line.
    """
    there = names_in(group)
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1)
        source = f" (from {said_by})" if said_by else ""
        folder = f" in {configs_dir()} (AGAR_CONFIGS)" if os.environ.get("AGAR_CONFIGS") else ""
        meant = f"write {near[0]}, if you mean that; else " if near else ""
        raise ConfigError(
            f"does not exist: there is no configs/{group}/{name}.yaml{folder}",
            where=f"{group} {name!r}{source}",
            next_step=f"{meant}{how} one of {', '.join(there) or 'none'}, or add the file",
        )


def check_word(word: str) -> None:
    """Refuse a key that does not exist or a group in the wrong place, and suggest what was probably meant.

    Raises:
        ConfigError: in one or two lines.
    """
    if not word.isprintable():
        raise ConfigError("holds a line break or a control character", where=repr(word), next_step="type it again")
    key, equals, value = word.partition("=")
    key = key.lstrip("+~").partition("@")[0]
    if not equals and not word.startswith("~"):
        raise ConfigError(
            "is not an override of the form key=value",
            where=repr(word),
            next_step="write a key and a value, as in optimizer.lr=0.01",
        )
    last = key.rpartition(".")[2]
    if last in GROUPS and key != last:
        raise ConfigError(
            f"is an unknown key: {last} is a group of its own",
            where=key,
            next_step=f"write {last}={value}; there are {', '.join(names_in(last))}",
        )
    if key in GROUPS:
        require_choice(key, value.strip("'\""))
    elif "." not in key and key not in known_keys(ExperimentConfig):
        known = [*GROUPS, *known_keys(ExperimentConfig)]
        raise ConfigError("is an unknown key", where=key, next_step=f"write {nearest_key(key, known)}")


def is_sweep(word: str) -> bool:
    """Whether a word lists several values, as in `seed=0,1,2`."""
    if "," not in word and "(" not in word:
        return False
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return bool(OverridesParser.create().parse_override(word).is_sweep_override())
    except HydraException:
        return False  # `compose` reports what is wrong with it


def spread(words: Sequence[str]) -> list[list[str]]:
    """Return every combination of the values that the words list; one combination if no word lists several.

    >>> spread(["seed=0,1", "optimizer=sgd"])
    [['seed=0', 'optimizer=sgd'], ['seed=1', 'optimizer=sgd']]
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    choices = []
    for word in words:
        if is_sweep(word):
            override = OverridesParser.create().parse_override(word)
            choices.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([word])
    return [list(combination) for combination in itertools.product(*choices)]
