"""The house: who may import whom, and what loads when."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.steps import STEPS

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = CHECKOUT / "agar_pipeline"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
HEAVY = ("torch", "lightning", "fiftyone", "torchvision", "matplotlib", "s3fs")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("agar_pipeline.")}


ALLOWED = {
    "secrets": set(),
    "safe_text": set(),
    "errors": set(),
    "yaml_words": set(),
    "text_files": {"yaml_words"},
    "coco_ids": set(),
    "name_spellings": set(),
    "config": {"coco_ids", "errors", "text_files", "yaml_words"},
    "published": {"errors"},
    "artifacts": {"config", "errors", "published"},
    "verdicts": {"artifacts", "errors"},
    "plates": {"plate_paint", "colony_paint"},
    "disk": {"errors"},
    "photo_files": set(),
    "file_system": {"disk", "errors"},
    "ownership": {"config", "disk", "errors", "photo_files"},
    "photo_tree": {"ownership", "photo_files"},
    "private_files": {"errors"},
    "progress": set(),
    "exit_codes": set(),
    "garbage": set(),
    "harmless_warnings": set(),
    "child": {"config", "disk", "errors", "exit_codes", "garbage", "harmless_warnings"},
    "environment": {"config"},
    "launch": {"child", "config", "disk", "environment", "errors", "exit_codes", "ownership"},
    "compute": {"config", "disk", "errors", "ownership"},
    "web": {"errors"},
    "step_code": {"compute", "config", "published"},
    "cluster": {"child", "compute", "config", "disk", "environment", "errors", "ownership"},
    "partitions": {"cluster", "compute", "config"},
    "preflight": {"child", "compute", "config", "disk", "errors", "fiftyone_io", "file_system", "launch", "ownership"},
    "store": {"artifacts", "config", "disk", "errors", "ownership"},
    "detection": {"config", "disk", "errors", "garbage", "ownership", "partitions", "photo_files", "photo_tree"}
    | {"coco_ids", "name_spellings", "text_files"},
    "splitting": {"config", "detection", "errors", "file_system", "ownership", "partitions", "photo_files"}
    | {"text_files"},
    "media": {"artifacts", "detection", "disk", "errors", "partitions", "progress"},
    "box_pairing": set(),
    "photo_changes": set(),
    "snapshot_diff": {"box_pairing", "errors", "photo_changes"},
    "lineage": {"artifacts", "errors", "store"},
    "photo_history": {"artifacts", "errors", "lineage", "step_code", "store"},
    "reports": {"config", "detection", "errors", "photo_changes", "photo_files", "snapshot_diff"},
    "snapshot_files": {"config", "errors", "detection", "file_system", "ownership", "partitions", "photo_files"},
    "coco_folder": {"config", "errors", "detection", "progress", "snapshot_files"},
    "fiftyone_io": {
        "child",
        "config",
        "disk",
        "errors",
        "launch",
        "detection",
        "ownership",
        "photo_files",
        "photo_tree",
        "private_files",
        "progress",
        "snapshot_files",
    }
    | {"coco_ids", "name_spellings", "text_files", "web"},
    "sources": {"config", "coco_folder", "fiftyone_io", "snapshot_files"},
    "scorecard": {"detection", "errors", "published", "reports"},
    "steps": {"artifacts", "child", "config", "detection", "errors", "launch", "media", "partitions", "progress"}
    | {"reports", "scorecard", "snapshot_files", "sources", "splitting", "step_code", "verdicts"},
    "chain": {"artifacts", "config", "errors", "step_code", "store"},
    "agreement": {"artifacts", "errors", "store"},
    "current": {"agreement", "artifacts", "chain", "config", "errors", "store", "verdicts"},
    "photo_content": {"artifacts", "errors", "progress", "snapshot_files"},
    "building": {"agreement", "artifacts", "chain", "compute", "config", "disk", "environment", "errors"}
    | {"launch", "partitions", "photo_content", "preflight", "steps", "store", "verdicts"},
    "plan": {"artifacts", "chain", "errors", "store", "verdicts"},
    "run_comparison": {"artifacts", "detection", "errors", "lineage", "plan", "snapshot_diff", "store"},
    "viewing": {"artifacts", "detection", "errors", "fiftyone_io", "launch", "lineage", "store"},
    "observation": {"artifacts", "config", "ownership", "photo_changes", "plan", "snapshot_diff", "steps", "store"},
    "export_folder": {"artifacts", "config", "disk", "ownership"},
    "export": {"building", "artifacts", "chain", "config", "errors", "export_folder", "ownership", "sources", "store"},
    "defs": {
        "building",
        "artifacts",
        "chain",
        "compute",
        "config",
        "current",
        "disk",
        "errors",
        "file_system",
        "launch",
        "observation",
        "ownership",
        "plan",
        "private_files",
        "sources",
        "store",
        "verdicts",
        "web",
    },
    "backup_file": {"disk", "errors"},
    "backup": {"artifacts", "backup_file", "config", "disk", "errors", "fiftyone_io", "ownership", "secrets", "store"},
    "definitions": {"chain", "config", "defs", "garbage", "store"},
}
"""Data flows one way: a room imports what stands left of it, and anybody `secrets` and `safe_text`.

`commands` may import anything but `steps`."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_flow_one_way(path: Path) -> None:
    if room(path) in ALLOWED:
        assert imported_rooms(path) - {room(path), "secrets", "safe_text"} <= ALLOWED[room(path)]


@pytest.mark.parametrize("path", sorted((PACKAGE / "steps").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_no_step_imports_another(path: Path) -> None:
    assert not {name for name in imported(path) if name.startswith("agar_pipeline.steps.")}


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("dagster", ("defs", "definitions")),
        ("hydra", ("config",)),
        ("fiftyone", ("fiftyone_io",)),
        ("ray", ("cluster",)),
        ("fsspec", ("store",)),
    ],
)
def test_each_heavy_library_has_one_home(library: str, homes: tuple[str, ...]) -> None:
    users = {room(path) for path in MODULES if any(name.split(".")[0] == library for name in imported(path))}
    assert users == set(homes)


def test_child_processes_have_one_home() -> None:
    users = {str(p.relative_to(PACKAGE)) for p in MODULES if "subprocess" in imported(p)}
    assert users <= {"launch.py", "fiftyone_io/own_mongod.py", "fiftyone_io/keeper.py"}, "mongod is no step of ours"


@pytest.mark.parametrize("path", sorted((PACKAGE / "commands").glob("*.py")), ids=lambda path: path.stem)
def test_commands_print_through_one_place(path: Path) -> None:
    """`commands.terminal.echo` and `say` let no name in the data reach the terminal as an escape sequence."""
    if path.stem not in ("__init__", "env", "terminal"):
        assert not re.findall(r"\b(?:click\.s?echo|print)\(", path.read_text()), "use echo or say of commands.terminal"


def test_one_word_per_asset_step_artifact_and_folder() -> None:
    assert list(STEPS) == list(ARTIFACTS)
    for asset in STEPS:
        assert (PACKAGE / "steps" / f"{asset}.py").is_file()
        assert ARTIFACTS[asset].__name__.lower() == asset.replace("_", "")


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "manager"}
    assert not [path for path in MODULES if path.stem in drawers]


PRINT_HELP = "from agar_pipeline.commands import main\ntry: main(['--help'])\nexcept SystemExit: pass"


@pytest.mark.parametrize(
    "statement",
    ["import agar_pipeline.definitions", PRINT_HELP],
    ids=["definitions load", "agar --help prints"],
)
def test_heavy_libraries_are_not_loaded_when(statement: str) -> None:
    code = f"import sys\n{statement}\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "[]"
