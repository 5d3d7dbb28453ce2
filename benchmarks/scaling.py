"""Time and peak memory of the data assets at 10,000 and 100,000 images with 20 boxes each.

SCALING_IMAGES=10000,100000,1000000 adds a million images with 20 million boxes, which take half an hour and 20 GB of
disk. Each image file has its own content, but is a PNG of 8 kB. Only headers are read, no pixels (`leakage.near: off`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._dataset import fill
from benchmarks._timing import report_ratio
from tests.conftest import edit_samples, move_first_box

BOXES_PER_IMAGE = 20
DIFFERENCE_UP_TO = 100_000
"""Images: telling what an edit changed holds the boxes of both snapshots."""
DATA_ASSETS = ("snapshot", "split", "coco_cache", "bbox_report")
CHECKOUT = Path(__file__).resolve().parent.parent
AGAR = Path(sys.executable).parent / "agar"
PIPELINE = """\
snapshot: {dataset: scaling}
class_map: {S.aureus: 1, B.subtilis: 2, P.aeruginosa: 3, E.coli: 4, C.albicans: 5}
split: {method: random, seed: 0, fractions: {train: 0.8, val: 0.2}, leakage: {near: "off"}}
box_policy: {degenerate_box: drop_box}
experiments: []
"""


def main() -> None:
    sizes = [int(text) for text in os.environ.get("SCALING_IMAGES", "10000,100000").split(",")]
    seconds, peaks = {}, {}
    for images in sizes:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            env = _prepare(Path(name), images)
            print(f"{images:,} images, {images * BOXES_PER_IMAGE:,} boxes", flush=True)
            measured = {asset: _measure(env, asset, "run", asset) for asset in DATA_ASSETS}
            _measure(env, "agar plan, unchanged", "plan", status=10)  # the leaderboard is missing
            if images <= DIFFERENCE_UP_TO:
                edit_samples(Path(env["AGAR_HOME"]), "scaling", move_first_box)
                _measure(env, "agar plan, a box moved", "plan", status=10)
        steps = [measured[asset] for asset in DATA_ASSETS]
        seconds[images], peaks[images] = sum(step[0] for step in steps), max(step[1] for step in steps)
    least, most = sizes[0], sizes[-1]
    times = most / least
    report_ratio("scaling_time", times * seconds[least] / seconds[most], aim=1)
    report_ratio("scaling_memory", times * peaks[least] / peaks[most], aim=times / 8)


def _prepare(folder: Path, images: int) -> dict[str, str]:
    """A home with a dataset of that size in its embedded database; returns the environment."""
    from agar_pipeline.fiftyone_io.database.connection import open_database

    shutil.copytree(CHECKOUT / "configs", folder / "configs")
    (folder / "configs" / "pipeline" / "scaling.yaml").write_text(PIPELINE)
    with open_database("embedded", folder / "home") as uri:
        fill(uri, folder / "images", "scaling", images, images * BOXES_PER_IMAGE, alike=False)
    time.sleep(2)  # files that were changed a moment ago are not remembered yet
    env = {**os.environ, "AGAR_HOME": str(folder / "home"), "AGAR_CONFIGS": str(folder / "configs")}
    return {**env, "AGAR_PIPELINE": "scaling", "AGAR_DATABASE_IDLE_S": "30"}


def _measure(env: dict[str, str], what: str, *arguments: str, status: int = 0) -> tuple[float, float]:
    """Print and return seconds and peak MB of a command: its own or its largest child's, mongod not among them."""
    started = time.perf_counter()
    process = subprocess.Popen([AGAR, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, ended, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(ended) != status:
        sys.exit(f"agar {' '.join(arguments)}: {said}")
    took_s, peak_mb = time.perf_counter() - started, usage.ru_maxrss / 1024
    print(f"  {what:<23} {took_s:8.1f} s {peak_mb:8.0f} MB", flush=True)
    return took_s, peak_mb


if __name__ == "__main__":
    main()
