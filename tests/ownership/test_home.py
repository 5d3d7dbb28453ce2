"""A home is a folder of our own: made private, never on somebody's files, found again after `git clean`."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agar_pipeline.errors import StorageError
from agar_pipeline.ownership.home import open_home, require_own
from agar_pipeline.ownership.scratch_folders import scratch_folder, sweep_scratch
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.store import Key, Store
from tests.conftest import BIN, CHECKOUT, edit_samples, runner
from tests.store.test_verify_and_clean import build_split

MARKER = "agar-home.json"


def listing(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: path → bytes, None for a folder."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_is_private_and_marked(home: Path) -> None:
    home.mkdir(mode=0o755)
    build_split(Store(home))
    assert mode(home) == 0o700
    assert json.loads((home / MARKER).read_text())["format"] == 1
    before = (home / MARKER).read_bytes()
    assert open_home(home) == home
    assert (home / MARKER).read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_sees_nothing_of_a_home(home: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    root = build_split(Store(home))
    for path in (home / MARKER, root / "manifest.json", home / "artifacts"):
        done = subprocess.run(["ls", str(path)], user=65534, group=65534, extra_groups=[], capture_output=True)
        assert done.returncode != 0, path


@pytest.mark.parametrize("command", [("run", "snapshot"), ("plan",), ("verify",), ("clean", "--yes"), ("env",)])
def test_a_folder_of_somebody_is_refused_before_anything_is_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    theirs = tmp_path / "theirs"
    for name in ("tmp/run-1/.lock", "tmp/run-1/work.txt", "artifacts/mine/notes/1/a.txt", "a.jpg"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("x")
    before = listing(theirs)
    done = runner({"AGAR_HOME": str(theirs)})("agar", *command)
    assert done.returncode == 1, done.stdout
    assert f"{theirs} cannot be the home, because it holds 'a.jpg', which agar_pipeline did not make" in done.stderr
    assert "; nothing was written\nset AGAR_HOME to a new or an empty folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert listing(theirs) == before


@pytest.mark.parametrize("command", [("run", "snapshot"), ("plan",), ("verify",), ("clean", "--yes"), ("env",)])
def test_a_file_in_place_of_the_home_stays_as_it_is(tmp_path: Path, command: tuple[str, ...]) -> None:
    thesis = tmp_path / "thesis"
    thesis.write_text("three years")
    thesis.chmod(0o666)
    for named in (thesis, thesis / "home"):
        done = runner({"AGAR_HOME": str(named)})("agar", *command)
        assert done.returncode == 1, done.stdout
        assert f"{named} cannot be the home, because it is not a folder, or lies below a file" in done.stderr
    assert (mode(thesis), thesis.read_text()) == (0o666, "three years")


def test_folders_that_merely_have_our_names_are_no_home(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "x").mkdir(parents=True)
    (tmp_path / "tmp" / "x" / "work.txt").write_text("x")
    with pytest.raises(StorageError, match="it holds 'tmp'"):
        open_home(tmp_path)
    assert not (tmp_path / MARKER).exists()


def test_a_home_from_before_markers_is_adopted_and_made_private(home: Path) -> None:
    root = build_split(Store(home))
    (home / MARKER).unlink()
    (home / ".DS_Store").write_text("x")
    (home / "lost+found").mkdir()
    home.chmod(0o755)
    require_own(home)
    open_home(home)
    assert mode(home) == 0o700
    assert Store(home).latest(Key("split")) == root


def test_a_home_of_a_newer_version_is_refused(home: Path) -> None:
    open_home(home)
    (home / MARKER).write_text(json.dumps({"format": 2}))
    with pytest.raises(
        StorageError, match="has format 2, but this agar_pipeline knows only format 1\nupgrade agar_pipeline"
    ):
        build_split(Store(home))


def test_scratch_folders_are_swept_only_where_they_are_ours(home: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from agar_pipeline.ownership.scratch_folders import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1]), 'child-'): os.kill(os.getpid(), 9)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script, str(home)], check=False)
    dead, *_ = (home / "tmp").glob("child-*")
    theirs = home / "tmp" / "child-mine"
    theirs.mkdir()
    for name in (".lock", "work.txt"):
        (theirs / name).write_text("x")
    shutil.rmtree(dead)
    dead.mkdir()  # somebody's by now
    (dead / "work.txt").write_text("x")
    assert sweep_scratch(home) == []
    assert (theirs / "work.txt").exists()
    assert (dead / "work.txt").exists()


def clone(folder: Path) -> Path:
    """The checkout as it stands, committed, with the virtual environment that runs the tests."""
    from tests.docs.pages import _publish_checkout

    _publish_checkout(folder / "origin.git")
    subprocess.run(["git", "clone", "--quiet", str(folder / "origin.git"), str(folder / "lab")], check=True)
    return folder / "lab"


def agar(checkout: Path, *arguments: str, data: Path, **more: str) -> str:
    """Call a command from a checkout by somebody who has set no variable of ours."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_"))}
    env = kept | {"PYTHONPATH": str(checkout), "XDG_DATA_HOME": str(data), "AGAR_DATABASE_IDLE_S": "2", **more}
    program, *rest = arguments
    done = subprocess.run([str(BIN / program), *rest], cwd=checkout, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_labels_and_artifacts_survive_git_clean_and_a_move_of_the_checkout(tmp_path: Path) -> None:
    checkout, data = clone(tmp_path), tmp_path / "data"
    generate_plates(tmp_path / "plates", 6, size_px=128, seed=5)
    words = ("import", "agar", "--images-dir", str(tmp_path / "plates"), "--dataset", "plates", "--pipeline", "mine")
    agar(checkout, "agar", *words, data=data)
    mine = (checkout / "configs" / "pipeline" / "mine.yaml").read_bytes()
    agar(checkout, "agar", "run", "snapshot", data=data, AGAR_PIPELINE="mine")
    (home,) = (data / "agar_pipeline").iterdir()
    assert home.name.startswith("lab-")
    assert (checkout / ".agar").readlink() == home
    assert (checkout / ".agar" / "artifacts" / "snapshot" / "latest" / "images.parquet").is_file()
    status = subprocess.run(["git", "status", "--porcelain"], cwd=checkout, capture_output=True, text=True, check=True)
    assert ".agar" not in status.stdout

    def by_hand(samples: object) -> None:
        samples.update_one({}, {"$set": {"ground_truth.detections.0.label": "seen by a person"}})  # type: ignore[attr-defined]

    edit_samples(home, "plates", by_hand)
    before = Store(home).latest(Key("snapshot"))
    subprocess.run(["git", "clean", "-ffdxq"], cwd=checkout, check=True)
    assert not os.path.lexists(checkout / ".agar")
    (checkout / "configs" / "pipeline" / "mine.yaml").write_bytes(mine)
    assert f"AGAR_HOME={home}" in agar(checkout, "agar", "env", data=data)
    assert Store(home).latest(Key("snapshot")) == before

    moved = checkout.rename(tmp_path / "moved")
    agar(moved, "agar", "env", data=data)
    subprocess.run(["git", "clean", "-ffdxq"], cwd=moved, check=True)
    assert f"AGAR_HOME={home}" in agar(moved, "agar", "env", data=data), "the link was followed, and is remembered"
    labels = edit_samples(home, "plates", lambda samples: samples.distinct("ground_truth.detections.label"))
    assert "seen by a person" in labels


def test_a_home_that_git_would_clean_is_warned_about_where_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "tree" / ".git").mkdir(parents=True)
    home, run = tmp_path / "tree" / "data" / "home", runner({})
    generate_plates(tmp_path / "plates", 2, size_px=64, seed=5)
    words = ("import", "agar", "--images-dir", str(tmp_path / "plates"), "--dataset", "plates")
    warning = f"warning: the home {home} lies in {tmp_path / 'tree'}, where `git clean -dx` deletes it with all labels"
    first, again = (run("agar", *words, AGAR_HOME=str(home)) for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert first.stderr.count(warning) == 1
    assert "git clean" not in again.stderr, "a person was told"
    assert warning in run("agar", "env", AGAR_HOME=str(home)).stderr
    outside = run("agar", *words, AGAR_HOME=str(tmp_path / "home"))
    assert "git clean" not in outside.stderr + run("agar", "env", AGAR_HOME=str(tmp_path / "home")).stderr


def test_the_old_place_in_the_checkout_is_used_and_told(tmp_path: Path) -> None:
    checkout, data = clone(tmp_path), tmp_path / "data"
    old = checkout / ".agar"
    build_split(Store(old))
    (old / MARKER).unlink()
    assert f"AGAR_HOME={old}\n" in agar(checkout, "agar", "env", data=data)
    assert not data.exists()
    told = json.loads(agar(checkout, "agar", "launch-check", "--json", data=data))
    (place,) = [check for check in told["checks"] if check["name"] == "home place"]
    assert place["level"] == "WARN"
    assert "git clean" in place["found"]
    subprocess.run(["bash", "-ec", place["fix"].split(": ", 1)[1]], cwd="/", check=True)
    (home,) = (data / "agar_pipeline").iterdir()
    assert f"AGAR_HOME={home}\n" in agar(checkout, "agar", "env", data=data)
    assert list(Store(home).published())


def test_a_user_whose_data_folder_cannot_be_written_has_the_home_in_the_checkout(tmp_path: Path) -> None:
    checkout = clone(tmp_path)
    for data in ("/dev/null/data", "relative"):
        out = agar(checkout, "agar", "env", data=Path(data), HOME="/dev/null")
        assert f"AGAR_HOME={checkout / '.agar'}\n" in out


def test_set_up_and_docs_make_no_home_in_the_checkout() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    docs = makefile[makefile.index("\ndocs:") :].partition("\n\n")[0]
    assert docs.index("agar env") < docs.index("mkdocs build"), "else mkdocs would make .agar a folder"


def test_scratch_is_private(home: Path) -> None:
    with scratch_folder(home, "x-") as folder:
        assert mode(folder) == 0o700
