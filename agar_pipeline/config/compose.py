"""Config files composed by Hydra, here and nowhere else. No value is ever imported, called or instantiated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agar_pipeline.config.experiment import ExperimentConfig
from agar_pipeline.config.pipeline import PipelineConfig
from agar_pipeline.config.places import configs_dir, pipeline_name
from agar_pipeline.config.plain import from_plain
from agar_pipeline.errors import ConfigError


def names_in(group: str) -> list[str]:
    """The choices of a config group, sorted."""
    return sorted(path.stem for path in (configs_dir() / group).glob("*.yaml"))


def load_pipeline(name: str | None = None) -> PipelineConfig:
    """Compose and check `configs/pipeline/<name>.yaml`; the default name is `AGAR_PIPELINE`, else `demo`."""
    name = name or pipeline_name()
    _require_choice("pipeline", name, "set AGAR_PIPELINE to one of them, or add the file")
    plain = _compose(f"pipeline/{name}", [])["pipeline"]
    return from_plain(PipelineConfig, {"name": name, **plain}, where=f"configs/pipeline/{name}.yaml")


def load_experiment(name: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Compose and check an experiment.

    Args:
        name: A file of `configs/experiment/`.
        overrides: Hydra's `key=value`, applied last.

    Raises:
        ConfigError: the experiment does not exist, or a key or value is wrong.
    """
    _require_choice("experiment", name, "choose one of them, or add the file")
    # `++`: a key that no file sets may be set all the same; the dataclasses know which keys there are
    forced = [f"++{word}" if "." in word.partition("=")[0] and word[0] not in "+~" else word for word in overrides]
    plain = _compose("config", [f"experiment={name}", *forced])
    return from_plain(ExperimentConfig, {"name": name, **plain}, where=f"experiment {name}")


def _require_choice(group: str, name: str, next_step: str) -> None:
    if name not in names_in(group):
        raise ConfigError(
            f"{group} {name!r} does not exist: no configs/{group}/{name}.yaml\n"
            f"there are: {', '.join(names_in(group)) or 'none'}; {next_step}"
        )


def _compose(config_name: str, overrides: list[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configs_dir())):
            plain = OmegaConf.to_container(compose(config_name, overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ConfigError(f"configs/{config_name}.yaml with {overrides or 'no overrides'}: {first_line}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
