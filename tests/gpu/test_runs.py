"""Commands on a card, as a user types them; a kill, a driver that was missing, another run on it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.conftest import ACCELERATOR, REHEARSAL, SIDE, Lab

SHORT = (
    "trainer.max_seconds=null", "trainer.max_steps=60", "trainer.val_every_n_epochs=1", "trainer.log_every_n_steps=1",
)  # fmt: skip


def killed_after_a_point(lab: Lab, *words: str) -> list[str]:
    """`agar train`, ended by SIGKILL, all its processes too, once a point to go on from is written; its words."""
    words = (
        "train",
        "experiment=small",
        "model.name=tiny",
        "data.batch_size=4",
        f"data.input_size={SIDE}",
        *SHORT,
        *words,
    )
    before = set(lab.home.glob("resume/*/*/*/[ab].json"))
    process = lab.start(*words)
    deadline = time.monotonic() + 300
    while set(lab.home.glob("resume/*/*/*/[ab].json")) <= before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    import psutil

    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    return list(words)


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_a_killed_training_goes_on(lab: Lab, measured: dict[str, Any], precision: str) -> None:
    where = (f"trainer.precision={precision}", f"trainer.accelerator={ACCELERATOR}", "seed=1")
    words = killed_after_a_point(lab, *where)
    done = lab.must(*words, "--json")
    went_on = re.search(r"continues from epoch \d+, step (\d+)", done.stderr)
    assert went_on, done.stderr
    root = Path(json.loads(done.stdout.splitlines()[-1])["path"])
    assert json.loads((root / "experiment.json").read_text())["last"]["step"] == 60
    measured["went_on_at_step"] = int(went_on[1])


@pytest.mark.parametrize("precision", ["16-mixed"])
def test_what_began_on_the_cpu_goes_on_on_the_card(lab: Lab, measured: dict[str, Any], precision: str) -> None:
    words = killed_after_a_point(lab, f"trainer.precision={precision}", "trainer.accelerator=cpu", "seed=2")
    done = lab.must(*[word.replace("=cpu", f"={ACCELERATOR}") for word in words])
    assert "continues from epoch" in done.stderr
    assert REHEARSAL or "it began in" in done.stderr


HOLDER = """
import sys, time
from pathlib import Path
from agar_pipeline.processes.gpu_leases import leased_here
with leased_here("cuda", Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(REHEARSAL, reason="a CPU is not leased")
def test_another_process_on_the_card_is_waited_for(lab: Lab, measured: dict[str, Any]) -> None:
    checkpoint = lab.checkpoint("tiny")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lab.home)], env=lab.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as holder:  # fmt: skip
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        (photo, *_) = sorted(lab.images.glob("*.jpg"))
        waiting = lab.start("predict", "--checkpoint", str(checkpoint), "--accelerator", "cuda", str(photo))
        assert waiting.stderr is not None
        assert "is used by another run of this home; this run waits for it" in waiting.stderr.readline()
        holder.stdin.write("\n")
        holder.stdin.flush()
        out, said = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, said
    assert out


def shown(done: subprocess.CompletedProcess[str]) -> str:
    """A command and what it said; of its lines of progress one in twenty."""
    lines = (done.stderr + done.stdout).splitlines()
    kept = [line for n, line in enumerate(lines) if n % 20 == 0 or not line.startswith("epoch ")]
    return "\n".join([f"$ agar {' '.join(done.args[4:])}", *kept, ""])


def test_the_commands_as_a_user_types_them(lab: Lab, measured: dict[str, Any]) -> None:
    """`agar smoke`, `train`, `evaluate`, `predict`; what they print stands in the report."""
    base = (
        "experiment=small",
        "data.batch_size=4",
        "trainer.max_steps=200",
        "trainer.precision=bf16-mixed",
        "seed=5",
        "trainer.val_every_n_epochs=10",
    )
    words = (*base, f"trainer.accelerator={ACCELERATOR}", f"data.input_size={SIDE}")
    done = [lab.must("smoke", *words), lab.must("train", *words)]
    checkpoint = done[1].stdout.strip().removeprefix("cached: ")
    val = ("--json", str(lab.val_json), "--images-dir", str(lab.images))
    done.append(lab.must("evaluate", "--checkpoint", checkpoint, *val, "--out-dir", str(lab.folder / "typed")))
    done.append(lab.must("predict", "--checkpoint", checkpoint, str(lab.images / "1.jpg")))
    measured["transcript"] = "\n".join(map(shown, done)).replace(str(lab.folder), "LAB")
    assert f"on {ACCELERATOR}" in done[0].stderr
