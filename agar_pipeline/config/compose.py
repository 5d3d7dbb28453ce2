"""Composes config files with Hydra into plain values. Other modules do not use Hydra to compose.

No value of a config is imported, called or instantiated as Python code.

Here: files and overrides to plain values. Not here: what the values mean (`load_configs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.config.compose_cache import recall, remember
from agar_pipeline.config.places import configs_dir
from agar_pipeline.errors import ConfigError
from agar_pipeline.text.secrets import has_secret

if TYPE_CHECKING:
    from yaml import MarkedYAMLError

_TOLD_APART = 4096
"""Bytes at the start of a file by which `_file_of_bytes` recognises it; more than most configs have."""


def compose_plain(config_name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a config with its defaults and overrides. The result is cached: Hydra takes 0.14 to 0.2 s.

    Raises:
        ConfigError: a file is not YAML, an override fits no key, or a value contains a password.
    """
    overrides = _force(overrides)
    plain = recall(config_name, overrides)
    if plain is None:
        plain = _compose_anew(config_name, overrides)
        _refuse_secrets(plain, f"configs/{config_name}.yaml")
        remember(config_name, overrides, plain)
    return plain


def choices_of(name: str, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Config group → the file of the group that an experiment uses, in the order of the defaults list."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configs_dir())):
        composed = compose("config", [f"experiment={name}", *_force(overrides)], return_hydra_config=True)
    choices = {str(group): str(choice) for group, choice in composed.hydra.runtime.choices.items()}
    return {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}


def _force(overrides: Sequence[str]) -> list[str]:
    """Prefix dotted keys with `++`, so that Hydra accepts keys that no file sets.

    The dataclasses check that they exist.
    """
    return [f"++{word}" if "." in word.partition("=")[0] and word[0] not in "+~" else word for word in overrides]


def _refuse_secrets(value: Any, where: str, path: str = "") -> None:
    """Raise ConfigError if a value is a password or an address with one, because config files are tracked by git."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_secrets(inner, where, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_secrets(inner, where, f"{path}[{index}]")
    elif isinstance(value, str) and "://" in value and has_secret(value):
        raise ConfigError(
            "holds a password, and this file is shared",
            where=f"{where}: {path}",
            next_step="write `database: env:AGAR_DATABASE_URI` and set that variable, or name a file that only you can "
            "read, `database: file:PATH`; change the password if this file was committed",
        )


def _file_of(error: MarkedYAMLError, config_name: str) -> str:
    """Return the file that YAML cannot parse, as `configs/…`. It is one of the files that the config is composed of."""
    mark = error.problem_mark or error.context_mark
    named = Path(mark.name) if mark and mark.name else configs_dir() / f"{config_name}.yaml"
    return f"configs/{named.relative_to(configs_dir())}" if named.is_relative_to(configs_dir()) else str(named)


def _file_of_bytes(content: bytes, config_name: str) -> str:
    """Find the file that is not UTF-8 by the bytes that were read, because the error does not name the file."""
    paths = sorted(configs_dir().rglob("*.yaml"))
    found = next((path for path in paths if path.read_bytes().startswith(content[:_TOLD_APART])), None)
    return f"configs/{found.relative_to(configs_dir())}" if found else f"configs/{config_name}.yaml"


def _compose_anew(config_name: str, overrides: list[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf
    from yaml import MarkedYAMLError

    from agar_pipeline.text.yaml_faults import explain_yaml

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configs_dir())):
            plain = OmegaConf.to_container(compose(config_name, overrides), resolve=True)
    except MarkedYAMLError as error:
        raise ConfigError(
            f"is not YAML: {explain_yaml(error)}",
            where=_file_of(error, config_name),
            next_step="correct the line; most often quotes are missing, or it begins with too few or too many blanks",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"is not text in UTF-8 (byte {error.start:,})",
            where=_file_of_bytes(error.object, config_name),
            next_step="save the file as UTF-8",
        ) from error
    except Exception as error:  # if a file is not a config, Hydra passes on exceptions of any type from its parsers
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"cannot be composed with {overrides or 'no overrides'}: {why}",
            where=f"configs/{config_name}.yaml",
            next_step="correct the file, a file of its defaults list, or the override",
        ) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
