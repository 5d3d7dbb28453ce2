"""What the processes of one training tell each other besides gradients; each function is trivial for one process.

Here: agreeing on time and on stopping, gathering, BatchNorm over all ranks. Not here: starting them (`launch`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

_is_alone = False


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() and not _is_alone else 1


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What one rank does by itself: nothing in it waits for the others, who are elsewhere or gone."""
    global _is_alone
    _is_alone = True
    try:
        yield
    finally:
        _is_alone = False


@cache
def _control_group() -> Any:
    """Words go over gloo, so that a GPU is not waited for."""
    return None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def agree(elapsed_s: float, stop: bool, due: bool) -> tuple[float, bool, bool]:
    """The first rank's clock, whether any rank was asked to stop, and whether the first one finds a point due.

    Called by all ranks after the same step, so that they end, or write, together.
    """
    if world_size() == 1:
        return elapsed_s, stop, due
    is_first = dist.get_rank() == 0
    words = torch.tensor([elapsed_s if is_first else -1.0, float(stop), float(due and is_first)], dtype=torch.float64)
    dist.all_reduce(words, dist.ReduceOp.MAX, group=_control_group())
    return float(words[0]), bool(words[1]), bool(words[2])


def average(values: dict[str, float]) -> dict[str, float]:
    """Each value's mean over all ranks."""
    if world_size() == 1:
        return values
    sums = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(sums, group=_control_group())
    return dict(zip(values, (sums / world_size()).tolist(), strict=True))


def gather(share: Any) -> list[Any]:
    """Every rank's share, in order of rank, on every rank."""
    if world_size() == 1:
        return [share]
    shares: list[Any] = [None] * world_size()
    dist.all_gather_object(shares, share, group=_control_group())
    return shares


def weigh(count: float) -> float:
    """What a mean over this rank's `count` items is multiplied by, so that the ranks' mean is that over all items."""
    if world_size() == 1:
        return 1.0
    total = torch.tensor([float(count)], dtype=torch.float64)
    dist.all_reduce(total, group=_control_group())
    return max(1.0, count) * world_size() / max(1.0, float(total))


class _Sum(torch.autograd.Function):
    """The sum over all ranks, whose gradient is the sum over all ranks."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class GlooBatchNorm(nn.BatchNorm2d):
    """BatchNorm over all ranks' images on CPUs, which torch's SyncBatchNorm refuses."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.training or world_size() == 1:
            return super().forward(images)
        floats = images.float()
        count = floats.new_tensor([images.numel() / images.shape[1]])
        total = _Sum.apply(torch.cat([floats.sum((0, 2, 3)), floats.square().sum((0, 2, 3)), count]))
        mean, mean_square = (total[:-1] / total[-1]).chunk(2)
        variance = (mean_square - mean.square()).clamp_min(0)
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            unbiased = variance * (total[-1] / (total[-1] - 1))
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr,arg-type]
            self.running_var.lerp_(unbiased, self.momentum)  # type: ignore[union-attr,arg-type]
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return torch.addcmul(shift[None, :, None, None], floats, scale[None, :, None, None]).to(images.dtype)


def synchronize_batch_norm(model: nn.Module, accelerator: str) -> nn.Module:
    """Let each BatchNorm see the whole global batch, so that two ranks train the model that one would."""
    if accelerator == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlooBatchNorm
    return model
