"""The real `agar restore`, but that it waits after each batch that it inserted for as long as a file is there."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import CHECKOUT

AT_A_TIME = 5
IN_STEPS = f"""
import sys, time
from pathlib import Path
from agar_pipeline.fiftyone_io.writing import restore
pause, documents = Path(sys.argv.pop(1)), restore._documents
restore._BATCH = {AT_A_TIME}
def in_steps(*given):
    for batch in documents(*given):
        yield batch
        pause.with_suffix(".there").touch()
        while pause.exists():
            time.sleep(0.01)
restore._documents = in_steps
from agar_pipeline.commands import main
main()
"""


def start_restore(name: str, pause: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    """A restore of the latest snapshot into a dataset of this name that has inserted its first batch, and waits."""
    pause.touch()
    words = [sys.executable, "-c", IN_STEPS, str(pause), "restore", "latest", "--dataset", name]
    process = subprocess.Popen(words, cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not pause.with_suffix(".there").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process
