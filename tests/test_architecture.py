"""The house: who may import whom, and what loads when."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.steps import STEPS
from tests.house import CHECKOUT, EDGES, EMPTY, IMPORTS, MODULES, PACKAGE, ROOMS, imported, name_of, room

HEAVY = ("torch", "lightning", "fiftyone", "torchvision", "matplotlib", "s3fs")


def test_every_folder_and_module_is_in_a_room() -> None:
    folders = {name_of(path) for path in MODULES if path.name == "__init__.py"}
    assert {room(name) for name in IMPORTS if name not in EMPTY} == set(ROOMS)
    assert {folder for folder in folders if folder not in EMPTY} <= set(ROOMS)


def test_the_map_in_the_readme_shows_the_rooms_in_their_order() -> None:
    house = (CHECKOUT / "README.md").read_text().partition("\nagar_pipeline/ ")[2].partition("\ndeploy/")[0]
    shown, outer = [], ""
    for indent, name in re.findall(r"^( +)(\w+)(?:/|\.py)(?: |$)", house, re.MULTILINE):
        outer = name if len(indent) == 2 else outer
        shown.append(name if len(indent) == 2 else f"{outer}.{name}")
    assert [name for name in shown if name not in ("detection", "fiftyone_io")] == [
        name for name in ROOMS if name not in ("fiftyone_io", "progress")
    ]


@pytest.mark.parametrize("name", sorted(IMPORTS))
def test_imports_flow_one_way(name: str) -> None:
    if name not in EMPTY:
        place = ROOMS.index(room(name))
        assert not {other for other in EDGES[name] if other and ROOMS.index(room(other)) > place}


def test_no_import_runs_in_a_circle() -> None:
    """Within a room as well: modules have an order, in which each imports only those before it."""
    TopologicalSorter({name: edges - {name} for name, edges in EDGES.items()}).prepare()


def test_after_the_coco_cache_nothing_touches_the_database() -> None:
    users = {room(name) for name, edges in EDGES.items() if any(edge.startswith("fiftyone_io.") for edge in edges)}
    inside = {name for name in ROOMS if name.startswith("fiftyone_io")}
    assert users - inside == {"snapshots", "preflight", "use_cases", "commands"}
    users = {name for name, edges in EDGES.items() if "snapshots.sources" in edges}
    assert {room(name) for name in users} == {"steps", "use_cases", "defs", "commands"}
    assert [name for name in users if room(name) == "steps"] == ["steps.snapshot"]


NAMED = re.compile(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)*)`")


def test_what_a_module_leaves_to_others_is_there() -> None:
    """`Not here: …` names modules and rooms of ours, and the docstring of a room names all of its modules."""
    known = {tail for name in IMPORTS for tail in tails(name)} | {"dagster", "fiftyone"}
    for path in MODULES:
        said = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("Not here:")[2].partition("\n\n")[0]
        assert not {name for name in NAMED.findall(said) if name not in known}, path
        assert NAMED.search(said) or not said, f"{path}: `Not here` names no module"
    for name in ROOMS:
        path = PACKAGE.joinpath(*name.split("."), "__init__.py")
        if path.exists() and name not in ("commands", "defs", "steps", "config", "reports"):
            named = set(NAMED.findall(ast.get_docstring(ast.parse(path.read_text())) or ""))
            inside = {m.removeprefix(f"{name}.").split(".")[0] for m in IMPORTS if m.startswith(f"{name}.")}
            assert inside - {"__main__"} <= named, path


def test_private_parts_of_other_packages_are_listed_with_their_reason() -> None:
    """An attribute with an underscore that its module does not define belongs to another package."""
    text = (PACKAGE.parent / "docs" / "contributing.md").read_text()
    table = text.partition("### Private parts of other packages")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    listed = {(name, place) for names, places in rows for name in ticked(names) for place in ticked(places)}
    used = {(name, str(path.relative_to(PACKAGE))) for path in MODULES for name in foreign_private_names(path)}
    assert not used - listed
    assert {name for name, _ in listed} == {name for name, _ in used}
    assert {place for _, place in listed} == {place for _, place in used}


def ticked(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


def foreign_private_names(path: Path) -> Iterator[str]:
    """Private attributes, modules and names that a module takes from packages other than ours.

    Of a private module its first three parts are named (`dagster._core.storage`), or the name that is imported.
    """
    nodes = list(ast.walk(ast.parse(path.read_text())))
    own = {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    own |= {n.target.id for n in nodes if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    own |= {"_replace", "_asdict", "_json"}  # of named tuples; of our own artifacts
    for node in nodes:
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            yield from {node.attr} - own
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("agar_pipeline"):
            private = re.match(r"[a-z_]+\._(?!_)[a-z_]+(\.[a-z]+)?", node.module)
            if private:
                yield private[0]
            elif "._" in node.module:
                yield from (alias.name for alias in node.names)
            yield from (alias.name for alias in node.names if re.match("_[^_]", alias.name))


def tails(name: str) -> set[str]:
    """`c`, `b.c` and `a.b.c` of `a.b.c`."""
    parts = name.split(".")
    return {".".join(parts[at:]) for at in range(len(parts))}


def test_commands_leave_steps_to_the_chain() -> None:
    assert not {
        name for name in EDGES if room(name) == "commands" and any(room(e) == "steps" for e in EDGES[name] if e)
    }


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
    users = {name for name, names in IMPORTS.items() if any(each.split(".")[0] == library for each in names)}
    assert {name.split(".")[0] for name in users} == set(homes)


def test_child_processes_have_one_home() -> None:
    users = {str(p.relative_to(PACKAGE)) for p in MODULES if "subprocess" in imported(p)}
    mongod = {"fiftyone_io/database/mongod_client.py", "fiftyone_io/database/mongod_keeper.py"}
    assert users <= {"processes/launch.py"} | mongod


BY_OTHERS = ("detection.inference.export_onnx", "detection.models.checkpoint", "detection.training.resume")


@pytest.mark.parametrize(
    ("words", "homes"),
    [
        ("file_digest", {"files.disk", "snapshot_files.file_hashes"}),  # the latter hashes what it has just looked at
        ("flock(", {"files.locks", "files.file_system", "fiftyone_io.database.mongod_keeper"}),  # probed; given back
        ("sched_getaffinity", {"processes.devices"}),
        ('environ["RANK"]', set()),
        ('"RANK"', {"processes.rank", "preflight.devices"}),  # whether there are ranks at all
        # a draft put into its place: a link, what has one writer, what must not replace a file of the user's
        ("draft.replace(", {"files.disk", *("store.folders", "defs.plain_name"), *BY_OTHERS, "ownership.folders"}),
    ],
)
def test_each_atom_has_one_home(words: str, homes: set[str]) -> None:
    """Hash, lock, cores, rank, and a draft beside a file: elsewhere they are imported."""
    assert {name_of(path) for path in MODULES if words in path.read_text()} == homes


@pytest.mark.parametrize("path", sorted((PACKAGE / "commands").glob("*.py")), ids=lambda path: path.stem)
def test_commands_print_through_one_place(path: Path) -> None:
    """`commands.terminal.echo` and `say` let no name in the data reach the terminal as an escape sequence."""
    if path.stem not in ("__init__", "env", "terminal"):
        assert not re.findall(r"\b(?:click\.s?echo|print)\(", path.read_text()), "use echo or say of commands.terminal"


def test_no_error_is_reworded_after_it_was_raised() -> None:
    """`errors.remedy` words the next step for its reader where the error is raised."""
    assert not [path for path in MODULES if "raise type(" in path.read_text()]


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
