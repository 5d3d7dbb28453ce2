"""Chooses the environment variables that a child gets: named ones that computing needs, without passwords and keys.

Training runs code of many packages, and Ray and Slurm pass environments to other machines. Therefore addresses of
databases and stores, and their keys, are given only to a child that uses them. `AGAR_CHILD_VARIABLES` adds names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase

from agar_pipeline.config import agar_home
from agar_pipeline.text.secrets import has_secret, is_secret_name

OURS = (
    "AGAR_CHILD_VARIABLES",
    "AGAR_CONFIGS",
    "AGAR_DATABASE_IDLE_S",
    "AGAR_HOME",
    "AGAR_IMAGES_DIR",
    "AGAR_PIPELINE",
    "AGAR_READER",
    "AGAR_STOP_FILE",
    "AGAR_THEIR_DATABASE_VALIDATION",
)
"""Our own variables that a child may read: paths and settings, but nothing that gives access to a database or a store.
"""
_SYSTEM = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "TERM", "TZ", "LANG", "LANGUAGE", "LC_*"),
    *("TMPDIR", "TMP", "TEMP", "XDG_*", "LD_*", "DYLD_*", "MALLOC_*", "VIRTUAL_ENV", "PYTHON*", "COVERAGE_*"),
    *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "BROWSER", "NO_COLOR", "FORCE_COLOR"),
    *("SSL_CERT_*", "*_CA_BUNDLE", "*_PROXY", "*_proxy"),
)
_COMPUTING = (
    *("CUDA*", "NVIDIA_*", "CUBLAS_*", "CUDNN_*", "HIP_*", "HSA_*", "ROCR_*", "NCCL_*", "GLOO_*", "UCX_*", "FI_*"),
    *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "NUMEXPR_*"),
    *("TORCH_*", "TORCHINDUCTOR_*", "TORCHDYNAMO_*", "PYTORCH_*", "TRITON_*"),
    *("SLURM_*", "RAY_*", "FIFTYONE_*", "MLFLOW_*", "HF_*", "MPLCONFIGDIR", "DO_NOT_TRACK"),
)
"""RANK, WORLD_SIZE, MASTER_ADDR and similar ones are left out. torchrun and Ray set them for the processes that they
start;
if a shell has them set, a single process would wait for others."""
MLFLOW_NEEDS = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""Variables with secrets that a training with `trainer.logger: mlflow` needs to log to a server."""
RAY_NEEDS = ("RAY_AUTH_TOKEN",)


def child_environment(needs: Iterable[str] = ()) -> dict[str, str]:
    """Return the environment of a child on this machine.

    Args:
        needs: Names of variables that this child gets although they contain a password or a key.
    """
    return _chosen((*_SYSTEM, *_COMPUTING, *OURS, *_named_by_user()), {*needs, *_named_by_user()})


def worker_environment() -> dict[str, str]:
    """Return the variables for a worker that Ray starts, perhaps on another machine, in addition to its own ones."""
    return {**_chosen((*OURS, *_named_by_user()), set(_named_by_user())), "AGAR_HOME": str(agar_home())}


def _chosen(patterns: Iterable[str], needed: set[str]) -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in needed
        or (
            any(fnmatchcase(name, pattern) for pattern in patterns)
            and not is_secret_name(name)
            and not has_secret(value)
        )
    }


def _named_by_user() -> list[str]:
    return [name.strip() for name in os.environ.get("AGAR_CHILD_VARIABLES", "").split(",") if name.strip()]
