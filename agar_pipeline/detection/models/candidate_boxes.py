"""Finds the best candidate that a detector cuts off before NMS without saying so.

RetinaNet and FCOS keep the best `topk_candidates` of each pyramid level, SSD those of each class. Here: the best score
of the others, for `left_out` of each image's answer. Not here: the candidates of a family (`retinanet`, `fcos`, `ssd`),
the use of that score (`detector`, `inference.batches`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

NOTHING = -1.0


def best_left_out(groups: Sequence[torch.Tensor], floor: float, most: int) -> torch.Tensor:
    """(N,) the best score above the floor that is not among the `most` best of its group, or -1.

    Args:
        groups: For each group, (N, candidates) scores of N images.
        floor: Scores up to this value do not count.
        most: Number of candidates that are kept per group.
    """
    if not torch.jit.is_tracing():  # type: ignore[attr-defined]  # no branches in a traced graph
        fullest = torch.stack([(scores > floor).sum(1).amax() for scores in groups]).amax()
        if int(fullest) <= most:
            return groups[0].new_full((len(groups[0]),), NOTHING)
    best = [pad(scores, (0, most + 1), value=NOTHING).topk(most + 1).values[:, -1] for scores in groups]
    found = torch.stack(best).amax(0)
    return torch.where(found > floor, found, torch.full_like(found, NOTHING))
