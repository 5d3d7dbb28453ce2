"""Makes a training repeatable bit for bit: always so on a CPU, and on a GPU with `trainer.deterministic`.

On a GPU, cuDNN, cuBLAS and kernels that add values in no fixed order give different bits in each run. For everything
that torchvision's detectors use, torch and torchvision have a deterministic form; that of RoIAlign is compiled in its
first step. Here: switching to these forms, and the messages.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from agar_pipeline.config import TrainerConfig
from agar_pipeline.errors import TrainingError


@contextmanager
def determinism(trainer: TrainerConfig) -> Iterator[None]:
    """Context in which torch computes as `trainer.deterministic` says.

    An operator without a deterministic form raises RuntimeError in it.
    """
    if not trainer.deterministic:
        yield
        return
    was_on = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmarked = torch.backends.cudnn.benchmark
    variables = {name: os.environ.get(name) for name in trainer.environment}
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # may pick another kernel in each run
    os.environ.update(trainer.environment)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=only_warned)
        torch.backends.cudnn.benchmark = benchmarked
        for name, value in variables.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def warn_of_chance(trainer: TrainerConfig, accelerator: str) -> str | None:
    """A warning if repeating the training would not give the same bits; else None."""
    if trainer.deterministic or accelerator == "cpu":
        return None
    return (
        f"a repeated training on {accelerator} does not give the same result bit for bit; "
        "with trainer.deterministic=true it does, and is slower"
    )


def explain_refusal(error: Exception, model_name: str) -> TrainingError | None:
    """Why a deterministic training cannot continue; None if the error has another cause."""
    first_line = (str(error) or type(error).__name__).splitlines()[0][:200]
    if "deterministic" in str(error):
        return TrainingError(
            f"is not possible: {model_name} needs an operator that has no deterministic form here ({first_line})",
            where="trainer.deterministic",
            value="true",
            next_step="set trainer.deterministic=false, or train tiny, RetinaNet, FCOS or SSD",
        )
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return TrainingError(
            f"needs a C compiler and Triton, because {model_name}'s RoIAlign is compiled, which failed ({first_line})",
            where="trainer.deterministic",
            value="true",
            next_step="install them, set trainer.deterministic=false, or train tiny, RetinaNet, FCOS or SSD",
        )
    return None
