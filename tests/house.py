"""The rooms of the package, their modules, and who imports whom: read from the sources, nothing is run.

Here: the order of the rooms. Not here: what must hold (`test_architecture`), pages and pictures (`docs.generate`).
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = CHECKOUT / "agar_pipeline"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, or imports a name of, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def name_of(path: Path) -> str:
    """`coco.columns` of `coco/columns.py`, `coco` of `coco/__init__.py`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def room(name: str) -> str:
    """The innermost room of `ROOMS` that a module is in."""
    inner = ".".join(name.split(".")[:2])
    return inner if inner in ROOMS else name.split(".")[0]


ROOMS = (
    *("text", "errors", "progress", "files", "config", "photos", "ownership", "processes", "cluster", "web"),
    *("coco", "labels", "scoring", "counting", "review"),
    *("detection.models", "detection.fitting", "detection.loading", "detection.inference", "detection.training"),
    *("splitting", "snapshot_files"),
    *("fiftyone_io.database", "fiftyone_io.reading", "fiftyone_io.annotation_files", "fiftyone_io.importing"),
    *("fiftyone_io.writing", "fiftyone_io"),
    *("artifacts", "media", "snapshots", "reports", "store", "step_code", "preflight", "steps", "chain"),
    *("history", "use_cases", "plates", "defs", "definitions", "commands"),
)
"""Data flows one way: a room imports itself and what stands before it.

So the detector knows no artifact, and neither it nor anything before it a database; only `defs` and what stands after
it know Dagster."""
EMPTY = ("", "detection")
"""Folders that hold rooms and no code."""
IMPORTS = {name_of(path): imported(path) for path in MODULES}


def module_of(name: str) -> str | None:
    """The module of ours that an imported name is, or is in."""
    if name.split(".")[0] != "agar_pipeline":
        return None
    inner = name.partition(".")[2]
    return inner if inner in IMPORTS else inner.rpartition(".")[0] if inner.rpartition(".")[0] in IMPORTS else None


EDGES = {name: {found for each in names if (found := module_of(each)) is not None} for name, names in IMPORTS.items()}


def modules_of(room_name: str) -> list[str]:
    """The modules of a room, each after those that it imports; by name where none imports the other."""
    inside = sorted(name for name in IMPORTS if name not in EMPTY and room(name) == room_name)
    ordered: list[str] = []
    while len(ordered) < len(inside):
        ordered.append(next(n for n in inside if n not in ordered and not EDGES[n] & {*inside} - {*ordered, n}))
    return ordered


def imports_between_rooms() -> Counter[tuple[str, str]]:
    """(Room that imports, room that is imported) → how many modules of the one import how many of the other."""
    pairs = ((room(name), room(edge)) for name, edges in EDGES.items() for edge in edges if name and edge)
    return Counter((one, other) for one, other in pairs if one != other and {one, other} <= {*ROOMS})
