"""Run the benchmarks named on the command line, or all: each prints `ratio NAME: X (aim Y)`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main(names: list[str]) -> None:
    chosen = [module for module in MODULES if not names or any(module in name or name in module for name in names)]
    if not chosen:
        sys.exit(f"no benchmark {names[0]!r}; there are: {', '.join(MODULES)}")
    for module in chosen:
        print(f"# {module}", flush=True)
        importlib.import_module(f"benchmarks.{module}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
