"""FiftyOne's own service program, run as it is, but without the seconds that importing all of FiftyOne takes.

`python -m agar_pipeline.fiftyone_io.service --51-service db --multi MONGOD …`: it owns mongod, and ends it after its
last client. Of FiftyOne it needs one small module, which is found through a package that runs no code of its own.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
import types
from pathlib import Path


def main() -> None:
    spec = importlib.util.find_spec("fiftyone")  # finds it, imports nothing
    if spec is None or spec.origin is None:
        sys.exit("FiftyOne is not installed: run `make setup`")
    folder = Path(spec.origin).parent
    package = types.ModuleType("fiftyone")
    package.__path__ = [str(folder)]
    sys.modules["fiftyone"] = package
    runpy.run_path(str(folder / "service" / "main.py"), run_name="__main__")


if __name__ == "__main__":
    main()
