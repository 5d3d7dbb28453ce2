"""The config group `optimizer`: how the weights are updated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from agar_pipeline.config.plain_values import STRICT


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """How the weights are updated."""

    name: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or stochastic gradient descent with momentum."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate after the warm-up, for the global batch size as it is. It is not scaled when the batch size
    changes."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Share of the weights that is subtracted by a step at learning rate 1."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """For `sgd` only."""
    warmup_steps: Annotated[int, Field(ge=0)] = 30
    """Optimizer steps over which the learning rate rises to `lr`."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Learning rate over the whole training, whichever of max_steps, max_epochs or max_seconds limits it. `cosine`
    falls to 0, `step` is multiplied by `step_factor` at each share in `step_at`."""
    step_at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.6, 0.9)
    """For `step`: shares of the training, ascending."""
    step_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """For `step`: factor of the learning rate."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 10.0
    """Largest norm of all gradients together; larger gradients are scaled down to it. null: no clipping."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a running average of the weights, which is validated and kept in place of the weights themselves. 0.999
    averages over about a thousand steps. null: no average."""
