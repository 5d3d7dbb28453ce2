"""A second real user of the machine: a process whose uid is changed, which only root may start."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534


def require_another_user(*reached: Path) -> None:
    """Skip without root; let other users come as far as these folders, so that nothing above keeps them out."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    for path in reached:
        for folder in (path, *path.parents):
            mode = folder.stat().st_mode
            if not mode & 0o001:
                folder.chmod(mode | 0o055)


def answer_of_another_user(act: Callable[[], Any]) -> Any:
    """What a function returns that runs as another user; of an OSError its name."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        answer: Any = "died"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            answer = act()
        except OSError as error:
            answer = type(error).__name__
        finally:
            os.write(write_end, json.dumps(answer).encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text)


@contextlib.contextmanager
def as_another_user(command: list[str], *reached: Path) -> Iterator[subprocess.Popen[str]]:
    """Another user's process, for as long as the block lasts."""
    require_another_user(*reached)
    process = subprocess.Popen(
        command, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
