"""All benchmarks of the card, or those that are named: `python -m benchmarks.gpu [step|options|feeding]`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu import feeding, options, step
from benchmarks.gpu.card import SIDE, describe, make_photos_in_parallel

MODULES = {"step": step, "options": options, "feeding": feeding}


def main(names: list[str]) -> None:
    if unknown := set(names) - set(MODULES):
        sys.exit(f"no benchmark of the card is called {sorted(unknown)[0]}: {', '.join(MODULES)}")
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        photos = make_photos_in_parallel(Path(name) / "photos", count=32, side=2 * SIDE)
        for module in [MODULES[name] for name in names or MODULES]:
            rows = module.run(Path(name), photos)
            for row in rows:
                print(" | ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            if folder := os.environ.get("AGAR_GPU_RESULTS"):
                path = Path(folder) / f"bench-{module.__name__.rpartition('.')[2]}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
