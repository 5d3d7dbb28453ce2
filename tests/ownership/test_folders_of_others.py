"""Commands that write into folders which hold the files of other people: their bytes before and after."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agar_pipeline.commands import agar
from agar_pipeline.errors import StorageError
from tests.conftest import DATABASE_IDLE_S, edit_samples
from tests.fiftyone_io.conftest import agar_label, stop_keeper, write_plate

Export = Callable[..., Result]
MEDIA = {
    "reference": ("--media", "reference"),
    "link": ("--media", "link"),
    "copy": ("--media", "copy"),
    "resize": ("--media", "resize", "--max-side", "40"),
}
LIST = ".agar-made.json"


def bytes_of(*folders: Path) -> dict[str, str]:
    """Path → sha256 of every file below folders."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Lab:
    """Six photos, three of them in the folder that somebody will export into, and one dataset of all."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home, self.out = folder, home, folder / "out"
        for number in range(6):
            place = self.out / "images" if number < 3 else folder / "elsewhere"
            place.mkdir(parents=True, exist_ok=True)
            write_plate(place, str(number), [agar_label(10, 10)], color=30 * number)

    def agar(self, *arguments: str) -> Result:
        return CliRunner().invoke(agar, list(arguments), env={"AGAR_HOME": str(self.home)})

    def import_agar(self, folder: Path, dataset: str) -> None:
        done = self.agar("import", "agar", "--images-dir", str(folder), "--dataset", dataset)
        assert done.exit_code == 0, done.output

    def export(self, out_dir: Path, media: str, *more: str, dataset: str = "plates") -> Result:
        return self.agar("export-coco", "--dataset", dataset, "--out-dir", str(out_dir), *MEDIA[media], *more)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home"))
    made.import_agar(made.folder, "plates")
    yield made
    stop_keeper(made.home)


def refused(done: Result, *words: str) -> bool:
    assert isinstance(done.exception, StorageError), (done.output, done.exception)
    assert all(word in str(done.exception) for word in words), done.exception
    return len(str(done.exception).splitlines()) <= 3


@pytest.mark.parametrize("media", MEDIA)
def test_another_tools_dataset_json_makes_no_folder_ours(lab: Lab, media: str) -> None:
    (lab.out / "dataset.json").write_text('{"name": "nnU-Net"}')
    (lab.out / "coco").mkdir(exist_ok=True)
    (lab.out / "coco" / "mine.json").write_text("[]")
    before = bytes_of(lab.folder)
    assert refused(lab.export(lab.out, media), "holds other files", "coco, dataset.json", "give --out-dir")
    assert bytes_of(lab.folder) == before


@pytest.mark.parametrize("media", MEDIA)
def test_an_export_again_takes_away_what_it_made_and_nothing_else(lab: Lab, tmp_path: Path, media: str) -> None:
    out, before = tmp_path / "out", bytes_of(lab.folder)
    assert lab.export(out, media, "--fractions", "0.5", "0.25", "0.25").exit_code == 0
    photos = {path.name for path in out.rglob("*.jpg")}
    assert len(photos) == (0 if media == "reference" else 6)
    foreign = [out / "notes.txt", out / "images" / "my drawing.jpg", out / "coco" / "mine.json"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    for following in ("resize", "link", "copy", media, "reference"):
        done = lab.export(out, following)
        assert done.exit_code == 0, done.exception
        assert not (out / "coco" / "test.json").exists(), "of a part that is no more"
    assert sorted(path for path in out.rglob("*") if path.is_file()) == sorted(
        [*foreign, out / LIST, out / "dataset.json", out / "coco" / "train.json", out / "coco" / "val.json"]
    )
    assert all(path.read_text() == path.name for path in foreign)
    assert bytes_of(lab.folder) == before


def test_what_a_person_edited_is_neither_replaced_nor_removed(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert lab.export(out, "copy", "--fractions", "0.5", "0.25", "0.25").exit_code == 0
    (out / "coco" / "test.json").write_text("mine now")
    (photo,) = out.rglob("0.jpg")
    photo.write_bytes(b"retouched")
    again = lab.export(out, "reference")
    (told,) = (line for line in again.output.splitlines() if line.startswith("note: kept"))
    assert all(name in told for name in ("0.jpg", "coco/test.json")), told
    (out / "coco" / "val.json").write_text("{}")
    before = bytes_of(out)
    assert refused(lab.export(out, "copy"), "2 files in the way", "0.jpg", "coco/val.json was changed since")
    assert bytes_of(out) == before


def test_photos_of_an_export_that_became_originals_stay(lab: Lab, tmp_path: Path) -> None:
    """They are protected from exports of a view of the dataset that stands on them now, and of the first dataset."""
    out = tmp_path / "out"
    assert lab.export(out, "copy").exit_code == 0
    for photo in out.rglob("*.jpg"):
        photo.with_suffix(".json").write_text(json.dumps({"colonies_number": 1, "labels": [agar_label(5, 5)]}))
    lab.import_agar(out / "images", "again")
    edit_samples(lab.home, "again", tag_three)
    before = bytes_of(lab.folder, out)
    for media in ("reference", "resize"):
        assert refused(lab.export(out, media, "--view", "tag:few", dataset="again"), "original photos", "and 3 more")
        assert refused(lab.export(out, media), "original photos", "and 3 more")
    assert bytes_of(lab.folder, out) == before


def tag_three(samples: Any) -> None:
    for sample in samples.find({}).sort("filepath").limit(3):
        samples.update_one({"_id": sample["_id"]}, {"$set": {"tags": ["few"]}})


def test_links_lead_nowhere_that_is_written_to(lab: Lab, tmp_path: Path) -> None:
    """A folder that was moved away and linked back is its owner's; the folder that was asked for may be a link."""
    out, moved = tmp_path / "out", tmp_path / "moved"
    (tmp_path / "real").mkdir()
    out.symlink_to(tmp_path / "real")
    assert lab.export(out, "copy").exit_code == 0
    (out / "images").rename(moved)
    (out / "images").symlink_to(moved)
    before = bytes_of(moved)
    assert refused(lab.export(out, "resize"), "would be written through images, which is a link")
    assert lab.export(out, "reference").exit_code == 0
    assert bytes_of(moved) == before
    (out / "coco" / "val.json").rename(tmp_path / "val.json")
    (out / "coco" / "val.json").symlink_to(tmp_path / "val.json")
    before = bytes_of(tmp_path)
    assert refused(lab.export(out, "reference"), "coco/val.json was changed")
    assert bytes_of(tmp_path) == before


def test_a_damaged_list_is_refused_and_nothing_is_guessed(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert lab.export(out, "copy").exit_code == 0
    listed = json.loads((out / LIST).read_text())
    for content in ("", "{}", "[1]", json.dumps({**listed, "files": {"../notes.txt": []}})):
        (out / LIST).write_text(content)
        before = bytes_of(out)
        assert refused(lab.export(out, "copy"), LIST, "give --out-dir another folder")
        assert bytes_of(out) == before


KILLED = """
import os, signal, sys
out, left = sys.argv[1], int(sys.argv[2])
def kill_in_time(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"):
        named = [os.fsdecode(each) for each in arguments if isinstance(each, (str, bytes, os.PathLike))]
        if any(name.startswith(out) for name in named):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill_in_time)
from agar_pipeline.commands import main
main(sys.argv[3:])
"""


@pytest.mark.parametrize("instant", [1, 4, 12, 30, 44, 52, 60])
def test_an_export_killed_at_any_moment_leaves_old_or_new_and_can_be_done_again(
    lab: Lab, tmp_path: Path, instant: int
) -> None:
    """Instants are counted in what the process asks of the file system; the last of them come after the end."""
    out = tmp_path / "out"
    assert lab.export(out, "copy", "--fractions", "0.5", "0.25", "0.25").exit_code == 0
    (out / "images" / "mine.jpg").write_text("mine")
    old = bytes_of(out)
    wanted = ["export-coco", "--dataset", "plates", "--out-dir", str(out), *MEDIA["resize"]]
    shutil.copytree(out, tmp_path / "twin")
    assert lab.agar(*[str(tmp_path / "twin") if word == str(out) else word for word in wanted]).exit_code == 0
    new = {name.replace("/twin/", "/out/"): sha256 for name, sha256 in bytes_of(tmp_path / "twin").items()}
    env = os.environ | {"AGAR_HOME": str(lab.home), "AGAR_DATABASE_IDLE_S": DATABASE_IDLE_S}
    command = [sys.executable, "-c", KILLED, str(out), str(instant), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for name, sha256 in bytes_of(out).items():
        if "/.agar-" not in name and not name.endswith("dataset.json"):  # that one names the folder
            assert sha256 in (old.get(name), new.get(name)), name
    assert lab.agar(*wanted).exit_code == 0
    after = bytes_of(out)
    assert {name for name in after if "/.agar-draft" in name} == set()
    assert {name: after[name] for name in after if name.endswith(".jpg")} == {
        name: sha256 for name, sha256 in new.items() if name.endswith(".jpg")
    }
    assert after.keys() == new.keys()
