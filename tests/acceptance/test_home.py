"""Case 66: what a lab owns survives a cleaned checkout, a used folder as the home, stray files, and a lost disk."""

from __future__ import annotations

import json
from pathlib import Path

from agar_pipeline.store import find_faults
from tests.acceptance.grading import SilentlyWrong, refused, right
from tests.acceptance.lab import Lab
from tests.conftest import runner
from tests.ownership.test_home import listing
from tests.ownership.test_home import test_labels_and_artifacts_survive_git_clean_and_a_move_of_the_checkout as cleaned
from tests.use_cases.test_backup import everything_in, hashes


def test_case_66_labels_snapshots_and_checkpoints_survive_a_cleaned_checkout(tmp_path: Path) -> None:
    try:
        cleaned(tmp_path)
    except AssertionError as error:
        raise SilentlyWrong("something was lost with the checkout") from error


def test_case_66_a_used_folder_is_no_home(trained: Lab, tmp_path: Path) -> None:
    for name in ("tmp/run/.lock", "tmp/run/photo.jpg", "thesis.tex"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    before = listing(tmp_path)
    for command in (("run",), ("verify",), ("clean", "--yes")):
        refused(trained.call(*command, AGAR_HOME=str(tmp_path)), "'thesis.tex'", "set AGAR_HOME to a new or an empty")
    right(listing(tmp_path) == before, "a folder of somebody's was changed")


def test_case_66_stray_files_cost_no_checkpoint(trained: Lab) -> None:
    root = trained.open("small/training_run").root
    checkpoint = (root / "checkpoints" / "best.ckpt").stat()
    strays = [root / name for name in (".DS_Store", "checkpoints/.nfs000000000123", "checkpoints/._best.ckpt")]
    for stray in strays:
        stray.write_text("x")
    right(trained.call("verify").returncode == 0, "a stray file is called damage")
    (root / "notes.txt").write_text("by hand")
    right(trained.call("verify").returncode == 1, "a file of somebody's is not told")
    trained.call("clean", "--yes")
    trained.run("run")
    right((root / "checkpoints" / "best.ckpt").stat() == checkpoint, "the checkpoint was made again, or is lost")
    right(not find_faults(root, thorough=True), "the training is damaged")
    found = [path.read_text() for path in (trained.home / "quarantine").rglob("notes.txt")]
    right(found == ["by hand"], "a file of somebody's was deleted")
    right(all(stray.exists() for stray in strays), "what is not ours was deleted")
    for stray in strays:
        stray.unlink()


def test_case_66_a_backup_comes_back_exactly(trained: Lab, tmp_path: Path) -> None:
    file, home = tmp_path / "saved.agar", tmp_path / "home"
    trained.run("backup", str(file), "--everything")
    done = runner({"AGAR_HOME": str(home)})("agar", "backup", "--restore", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["datasets"] == ["small"]
    right(everything_in(home) == everything_in(trained.home), "labels differ")
    right(hashes(home) == hashes(trained.home), "artifacts differ")
