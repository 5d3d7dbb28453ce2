"""Runs one step in a process of its own: `python -m agar_pipeline.steps REQUEST.json`, started by `launch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.cluster.partitions import launched_by
from agar_pipeline.config import from_plain
from agar_pipeline.processes.child import child_main
from agar_pipeline.progress import Log
from agar_pipeline.steps import STEPS


def main(request: dict[str, Any], log: Log) -> dict[str, Any]:
    step = STEPS[request["asset"]]
    config: Any = from_plain(step.config_type, request["config"], where=step.asset)
    inputs = {name: ARTIFACTS[name].open(Path(root)) for name, root in request["inputs"].items()}
    more: dict[str, Any] = {"work_dir": Path(request["work_dir"])} if request.get("work_dir") else {}
    if step.reuses:
        more["earlier"] = [Path(root) for root in request["earlier"]]
    with launched_by(request["launcher"], log):
        step.build(config, Path(request["out_dir"]), log, **inputs, **more)
    return {}


if __name__ == "__main__":
    child_main(main)
