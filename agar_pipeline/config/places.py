"""Where things lie, and which pipeline is meant: the only readers of AGAR_… variables."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def agar_home() -> Path:
    """The folder that holds everything the pipeline writes: `AGAR_HOME`, else `.agar/` in the checkout."""
    return Path(os.environ.get("AGAR_HOME") or CHECKOUT / ".agar").expanduser().absolute()


def configs_dir() -> Path:
    """The folder of the config groups: `AGAR_CONFIGS`, else `configs/` in the checkout."""
    return Path(os.environ.get("AGAR_CONFIGS") or CHECKOUT / "configs").expanduser().absolute()


def pipeline_name() -> str:
    """`AGAR_PIPELINE`, else `demo`."""
    return os.environ.get("AGAR_PIPELINE") or "demo"
