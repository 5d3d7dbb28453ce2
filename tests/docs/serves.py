"""`python -m tests.docs.serves COMMAND …`: start a server, ask it once at the address that it prints, and end it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
import urllib.request

from tests.cluster.processes import running

PATIENCE_S = 120


def main(command: list[str]) -> None:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    with running(process, patience_s=20):
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if address := re.search(r"https?://[\w.]+:\d+\S*", line):
                return ask(address[0])
        sys.exit(f"{' '.join(command)} ended and named no address:\n{''.join(said)}")


def ask(address: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=30) as answer:
            print(f"{address} answers {answer.status}")
            return
        time.sleep(0.5)
    sys.exit(f"nothing answers at {address}")


if __name__ == "__main__":
    main(sys.argv[1:])
