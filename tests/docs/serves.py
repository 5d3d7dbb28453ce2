"""`python -m tests.docs.serves COMMAND …`: start a server, ask it once at the address that it prints, then Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

from tests.cluster.processes import running

PATIENCE_S = 120


def main(command: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's `&` has it ignored
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    with running(process, patience_s=5):
        ask(find_address(process))
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE_S)


def find_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if address := re.search(r"https?://[\w.]+:\d+\S*", line):
            return address[0]
    sys.exit(f"ended without naming an address:\n{''.join(said)}")


def ask(address: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=30) as answer:
            print(f"{address} answers {answer.status}")
            return
        time.sleep(0.2)
    sys.exit(f"nothing answers at {address}")


if __name__ == "__main__":
    main(sys.argv[1:])
