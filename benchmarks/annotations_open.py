"""Opening 865,000 annotations: `pycocotools.COCO` on the JSON against our mapped columns beside it.

Also the memory that each takes in a process of its own, and the same JSON read by us where no columns fit it.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from agar_pipeline.coco.columns import CocoColumns, parse_coco, read_coco
from agar_pipeline.coco.writer import write_coco
from benchmarks._timing import by_turns, print_ratio

ROUNDS = 5
IMAGES, ANNOTATIONS = 44_310, 865_000
OURS = "from agar_pipeline.coco.columns import read_coco; from pathlib import Path; read = lambda p: read_coco(Path(p))"
THEIRS = "from pycocotools.coco import COCO as read"
MEASURE = """
import os, sys
{read}
def private_bytes():
    with open('/proc/self/smaps_rollup') as lines:
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(('Private_Dirty', 'Swap:')))
before = private_bytes()
sys.stdout = open(os.devnull, 'w')
opened = read({path!r})
{use}
print(private_bytes() - before, file=sys.stderr)
"""
USE = "print(opened.boxes_xywh.sum(), opened.annotation_category_ids.sum(), opened.file_names[-1])"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "train.json"
        write_coco(path, _columns())

        def open_with_pycocotools() -> object:
            from pycocotools.coco import COCO

            with contextlib.redirect_stdout(io.StringIO()):
                return COCO(str(path))

        seconds = by_turns(ROUNDS, theirs=open_with_pycocotools, ours=lambda: read_coco(path))
        parsed = by_turns(1, parsed=lambda: parse_coco(path))["parsed"]
        print(f"the JSON alone, {path.stat().st_size / 1e6:.0f} MB, by us: {statistics.median(parsed):.2f} s")
        print_ratio("annotations_open", seconds["theirs"], seconds["ours"], aim=100)
        if sys.platform == "linux":
            theirs, ours, read = (
                _private_mb(THEIRS, path, ""),
                _private_mb(OURS, path, ""),
                _private_mb(OURS, path, USE),
            )
            print(f"memory of its own: pycocotools {theirs:.0f} MB, ours {ours:.1f} MB, all columns read {read:.1f} MB")


def _columns() -> CocoColumns:
    rng = np.random.default_rng(0)
    return CocoColumns(
        image_ids=np.arange(1, IMAGES + 1),
        file_names=np.array([f"plates/{i}.jpg" for i in range(IMAGES)], dtype=object),
        sizes_wh=np.full((IMAGES, 2), 2048),
        annotation_ids=np.arange(1, ANNOTATIONS + 1),
        annotation_image_ids=np.sort(rng.integers(1, IMAGES + 1, ANNOTATIONS)),
        annotation_category_ids=rng.integers(1, 8, ANNOTATIONS),
        boxes_xywh=rng.uniform(0, 1000, (ANNOTATIONS, 4)),
        iscrowd=np.zeros(ANNOTATIONS, dtype=bool),
        category_ids=np.arange(1, 8),
        class_names=tuple("ABCDEFG"),
    )


def _private_mb(read: str, path: Path, use: str) -> float:
    """Memory that cannot be shared or dropped, after opening minus before, in a fresh process; a map's pages can."""
    code = MEASURE.format(read=read, path=str(path), use=use)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1]) / 1e6
