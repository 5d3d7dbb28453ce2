"""A step of training with each precision, memory order and compiler: milliseconds, and the most memory that was held.

What is compiled is the backbone with its pyramid: the rest of a detector asks the card how many boxes it found, which
a compiler cannot see through.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.card import DEVICE, MODELS, QUICK, REHEARSAL, Photos, seconds_of
from benchmarks.gpu.step import bare_step

ROUNDS, STEPS = (1, 1) if REHEARSAL else (3, 8)
PRECISIONS = ("bf16-mixed",) if REHEARSAL or QUICK else ("32-true", "16-mixed", "bf16-mixed")
OPTIONS = ("plain", "channels_last", "channels_last+compile")
COMPILED = ("fasterrcnn_resnet50_fpn_v2", "tiny")


def run(folder: Path, photos: Photos) -> list[dict[str, Any]]:
    """A row for each model, precision and option; `ratio` is against the same without the option."""
    import torch

    rows = []
    for model in MODELS[:2]:
        for precision in PRECISIONS:
            plain_ms = None
            for option in OPTIONS:
                if "compile" in option and (REHEARSAL or QUICK or precision != "bf16-mixed" or model not in COMPILED):
                    continue
                if DEVICE == "cuda":
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                step = bare_step(model, precision, folder, photos, partial(_with, option=option))
                started_at = time.perf_counter()
                for _ in range(8):  # cuDNN's choice of algorithms, the compiler, all batches once
                    step()
                first_s = time.perf_counter() - started_at
                seconds = [seconds_of(partial(_repeat, step)) / STEPS for _ in range(ROUNDS)]
                ms = 1000 * statistics.median(seconds)
                plain_ms = plain_ms or ms
                peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else float("nan")
                rows.append({
                    "model": model, "precision": precision, "option": option, "ms": round(ms, 1),
                    "ratio": round(plain_ms / ms, 2), "peak_gb": round(peak, 2), "first_8_s": round(first_s, 1),
                })  # fmt: skip
                del step
    return rows


def _repeat(step: Callable[[], None]) -> None:
    for _ in range(STEPS):
        step()


def _with(detector: Any, option: str) -> Any:
    import torch

    if "channels_last" in option:
        detector = detector.to(memory_format=torch.channels_last)
    if "compile" in option:
        detector.model.backbone = torch.compile(detector.model.backbone)
    return detector
