"""Recognises that memory ran out, on a GPU or a CPU, and says what did not fit and which settings need less."""

from __future__ import annotations

import torch

from agar_pipeline.config import TrainingConfig
from agar_pipeline.errors import TrainingError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that memory ran out. It looks at the message too, because the CPU's allocator, cuBLAS,
    cuDNN and NCCL have no exception type for this.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "out of memory", "ALLOC_FAILED")
    return any(word in str(error) for word in words)


def explain_memory(config: TrainingConfig, batch_names: str, error: BaseException) -> TrainingError:
    """An error that says what did not fit, and which settings need about half of the memory."""
    data, world_size = config.data, config.trainer.devices * config.trainer.num_nodes
    half = data.batch // 2 // world_size * world_size
    key = "data.tiles.size" if data.windows else "data.input_size"
    smaller = int(data.model_side * 0.7) // 32 * 32
    fits = [f"data.batch_size={half}"] if half else []
    fits += [f"{key}={smaller}"] if smaller >= 64 else []
    first_line = (str(error) or type(error).__name__).splitlines()[0][:200]
    return TrainingError(
        f"memory ran out at data.batch_size={data.batch}, {key}={data.model_side}, "
        f"on {batch_names or 'the first batch'}: {first_line}",
        next_step=f"set {' or '.join(fits) or 'model.name to a smaller model'}, to need about half of the memory",
    )
