"""Communication between the ranks of one training, besides gradients; with one process it does nothing.

Here: agreement on time and on stopping, gathering, BatchNorm over all ranks. Not here: starting ranks (`launch`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

_acts_as_single_rank = False


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() and not _acts_as_single_rank else 1


@contextlib.contextmanager
def as_single_rank() -> Iterator[None]:
    """Context in which this rank does not communicate, because the other ranks do other work or have ended."""
    global _acts_as_single_rank
    _acts_as_single_rank = True
    try:
        yield
    finally:
        _acts_as_single_rank = False


@cache
def _control_group() -> Any:
    """Process group for control messages (small tensors on the CPU); gloo, so that no rank synchronises its GPU."""
    return None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def agree(elapsed_s: float, stop: bool, due: bool) -> tuple[float, bool, bool]:
    """The first rank's elapsed seconds, whether any rank was asked to stop, and whether the first rank's resume point
    is due.

    All ranks call it after the same step, so that they end, or write, together.
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
    """The values of all ranks, in order of rank, on every rank."""
    if world_size() == 1:
        return [share]
    shares: list[Any] = [None] * world_size()
    dist.all_gather_object(shares, share, group=_control_group())
    return shares


def weigh(count: float) -> float:
    """Factor for a mean over this rank's `count` items, so that the mean over ranks is the mean over all items."""
    if world_size() == 1:
        return 1.0
    total = torch.tensor([float(count)], dtype=torch.float64)
    dist.all_reduce(total, group=_control_group())
    return max(1.0, count) * world_size() / max(1.0, float(total))


class _Normalise(torch.autograd.Function):
    """BatchNorm with given statistics; its gradient accounts for statistics computed from the images of all ranks."""

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        count: torch.Tensor,
        eps: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(images, weight, mean, variance, count)
        ctx.eps = eps
        return F.batch_norm(images, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, section 3; its two sums are taken over all ranks."""
        images, weight, mean, variance, count = ctx.saved_tensors
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, images, weight, mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        sums = _sum_over_ranks(torch.cat([of_weight, of_bias]))
        mean_of_weight, mean_of_bias = (sums / count).chunk(2)
        per_gradient = weight * torch.rsqrt(variance + ctx.eps)
        per_image = -weight * mean_of_weight / (variance + ctx.eps)
        offset = -per_gradient * mean_of_bias - per_image * mean
        a, b, c = (values.to(images.dtype)[None, :, None, None] for values in (per_gradient, per_image, offset))
        return torch.addcmul(c, images, b).addcmul_(gradient, a), of_weight, of_bias, None, None, None, None


def _sum_over_ranks(numbers: torch.Tensor) -> torch.Tensor:
    """Sum of a short tensor over all ranks, equal on every rank. It takes one exchange; gloo's all_reduce takes two."""
    of_ranks = [torch.empty_like(numbers) for _ in range(world_size())]
    dist.all_gather(of_ranks, numbers)
    return torch.stack(of_ranks).sum(0)


class GlooBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the images of all ranks on CPUs, which torch's SyncBatchNorm does not support."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.training or world_size() == 1:
            return super().forward(images)
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            own_mean, own_variance = torch.batch_norm_update_stats(images.float(), None, None, 0.0)
            own_count = own_mean.new_tensor([images.numel() / images.shape[1]])
            total = torch.cat([own_mean, own_variance + own_mean.square(), torch.ones_like(own_count)]) * own_count
            total = _sum_over_ranks(total)
            count = total[-1]
            mean, mean_square = (total[:-1] / count).chunk(2)
            variance = (mean_square - mean.square()).clamp_min(0)
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr,arg-type]
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)  # type: ignore[union-attr,arg-type]
        return _Normalise.apply(images, self.weight, self.bias, mean, variance, count, self.eps)


def synchronize_batch_norm(model: nn.Module, accelerator: str) -> nn.Module:
    """Let each BatchNorm use the whole global batch, so that two ranks train the same model as one rank."""
    if accelerator == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlooBatchNorm
    return model
