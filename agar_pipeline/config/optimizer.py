"""How weights move: the group `optimizer`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from agar_pipeline.config.plain import STRICT


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """How weights move."""

    name: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or stochastic gradient descent with momentum."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate after the warm-up, for the global batch as it is: another batch size does not change it."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Share of the weights that a step at learning rate 1 takes away."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """For sgd only."""
    warmup_steps: Annotated[int, Field(ge=0)] = 30
    """Steps over which the learning rate rises to `lr`."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Over the whole of training, max_steps, max_epochs or max_seconds, whichever is set: `cosine` falls to 0, `step`
    is multiplied by `step_factor` at each share of `step_at`."""
    step_at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.6, 0.9)
    """For `step`: shares of training, rising."""
    step_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """For `step`."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 10.0
    """Largest norm of all gradients together; null: not clipped."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Validate and keep a running average of the weights (0.999 forgets over about a thousand steps); null: none."""
