"""Case 55: a shared store of which some calls fail, wherever one is made."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import fsspec
import pytest

from agar_pipeline.errors import PipelineError
from agar_pipeline.store import Store, find_faults, remote_files
from tests.acceptance.flaky_files import FlakyFileSystem
from tests.acceptance.grading import right
from tests.acceptance.lab import DATA_ASSETS, Lab
from tests.store.test_store import INPUTS, KEY, write_split

MANY = 24
SITE = """\
import fsspec
from flaky_files import FlakyFileSystem
fsspec.register_implementation("flaky", FlakyFileSystem)
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setenv("AGAR_STORE", f"flaky://{folder}")
    monkeypatch.setattr(remote_files, "PATIENCE_S", 0.0)  # asked again at once, so that each call has its turn
    return folder


def write_many(out_dir: Path) -> None:
    """More files than there are threads."""
    write_split(out_dir)
    (out_dir / "pictures").mkdir()
    for number in range(MANY):
        (out_dir / "pictures" / f"{number}.txt").write_text(str(number))


@pytest.mark.parametrize("failing", ["one call", "every second", "every third", "every seventh"])
def test_case_55_each_failing_call_is_said_and_stops_no_work(
    failing: str, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {"one call": 0, "every second": 2, "every third": 3, "every seventh": 7}[failing]
    for number in range(1, 400 if every == 0 else 4):
        FlakyFileSystem.numbers = itertools.count(0 if every == 0 else number)
        failed: list[int] = []

        def fails(call: int, at: int = number, failed: list[int] = failed) -> bool:
            bad = call == at if every == 0 else call % every == 0
            failed += [call] if bad else []
            return bad

        monkeypatch.setattr(FlakyFileSystem, "fails", staticmethod(fails))
        said: list[str] = []
        for home in ("first", "second"):  # one publishes, the other fetches
            store = Store(tmp_path / f"{home}-{failing}-{number}")
            try:
                root = store.build(KEY, {"seed": number}, INPUTS, write_many, said.append).artifact.root
            except (PipelineError, OSError) as error:
                raise AssertionError(f"call {number} ({failing}) ended the run: {error!r}") from error
            right(not find_faults(root), f"call {number} left an artifact that is not whole")
        if not failed:
            assert every == 0
            assert number > 2 * MANY  # all calls had their turn
            return
        told = [line for line in said if "fails" in line]
        manifests = {path.stem for path in (shared / "artifacts" / str(KEY)).glob("*.json")}
        right(told or root.name in manifests, f"call {number} failed, nothing is shared, and nothing was said: {said}")


def test_case_55_runs_end_well_and_share_later_what_they_could_not(lab: Lab, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    shutil.copy(Path(__file__).with_name("flaky_files.py"), tmp_path / "site")
    env = {"AGAR_STORE": f"flaky://{shared}", "PYTHONPATH": str(tmp_path / "site")}
    outputs = [lab.run("run", *DATA_ASSETS, **env, FAILS_EVERY=every) for every in ("2", "5")]
    right(any("is not in the shared store yet" in output for output in outputs), "\n".join(outputs))
    lab.require_same()
    lab.run("run", *DATA_ASSETS, AGAR_STORE=f"file://{shared}")
    names = {json.loads(found.read_text())["asset"] for found in shared.glob("artifacts/*/*.json")}
    right(names == set(DATA_ASSETS), f"shared in the end: {sorted(names)}")
