"""Peak memory and time of a snapshot at 1, 10 and 100 times 4,431 samples and 86,476 boxes.

Each size in a process of its own. MEMORY_TIMES=1,10 leaves out the largest, which takes some minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks._dataset import BOXES, IMAGES, fill, temporary_database
from benchmarks._timing import report_ratio

TAKE = """
import resource, sys, time
from pathlib import Path
from agar_pipeline.config import SnapshotConfig
from agar_pipeline.fiftyone_io.reading.observe import resolver_in_child
from agar_pipeline.fiftyone_io.reading.read import read_at
uri, home, out_dir, name = sys.argv[1:]
config = SnapshotConfig(dataset=name, database_notice=False)
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
started, cpu = time.perf_counter(), time.process_time()
read_at(uri, config, Path(home), Path(out_dir), lambda line: None, resolver_in_child(uri))
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
print(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, idle)
"""


def main() -> None:
    sizes = [int(text) for text in os.environ.get("MEMORY_TIMES", "1,10,100").split(",")]
    peaks, per_image = {}, {}
    with temporary_database() as (folder, uri):
        for times in sizes:
            fill(uri, folder / f"images{times}", f"times{times}", times * IMAGES, times * BOXES)
            time.sleep(1.5)  # files that were changed a moment ago are not remembered yet
            (folder / f"out{times}").mkdir()
            arguments = [uri, f"{folder}/home", f"{folder}/out{times}", f"times{times}"]
            for look in ("files new", "files known"):
                seconds, cpu_s, peak_mb, idle_mb = _take(arguments)
                print(
                    f"{times:>4}× ({times * IMAGES:,} images, {times * BOXES:,} boxes), {look}: {seconds:.2f} s, "
                    f"{1e6 * seconds / times / IMAGES:.0f} µs an image ({1e6 * cpu_s / times / IMAGES:.0f} of CPU), "
                    f"peak {peak_mb:.0f} MB, {idle_mb:.0f} of them before",
                    flush=True,
                )
            peaks[times], per_image[times] = peak_mb, cpu_s / times
    least, most = sizes[0], sizes[-1]
    report_ratio("snapshot_memory", peaks[least] / peaks[most], aim=0.5)
    report_ratio("snapshot_linear", per_image[least] / per_image[most], aim=0.8)


def _take(arguments: list[str]) -> list[float]:
    done = subprocess.run([sys.executable, "-c", TAKE, *arguments], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]
