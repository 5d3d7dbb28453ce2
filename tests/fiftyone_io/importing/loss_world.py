"""Every command that writes, among folders and datasets that a person uses as well.

Each public step takes two numbers, of which it makes what it needs, so that any sequence is one.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from bson import ObjectId
from click.testing import CliRunner
from PIL import Image

from agar_pipeline.commands import agar
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from agar_pipeline.fiftyone_io.writing.write_back import PlateBoxes
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.counted_area import WHOLE_IMAGE
from agar_pipeline.store import Key, Store
from agar_pipeline.use_cases import viewing
from agar_pipeline.use_cases.predicted_plates import PredictedPlates
from tests.fiftyone_io.importing.import_world import ImportWorld
from tests.fiftyone_io.importing.killed import run_and_kill
from tests.fiftyone_io.importing.loss_truths import RUNS, files_in
from tests.fiftyone_io.importing.review_world import ReviewWorld

MEDIA = (("reference",), ("link",), ("copy",), ("resize", "--max-side", "40"))


class LossWorld(ReviewWorld):
    """`ImportWorld` with exports, restores, views, reviews, cleans, backups and kills."""

    STEPS = (
        *ImportWorld.STEPS,
        *ReviewWorld.STEPS,
        *("deletes_sample", "deletes_photo", "exports", "exports", "exports", "edits_export", "adopts", "loses_list"),
        *("links_photos", "restores", "restores", "edits_restored", "views", "edits_predictions", "takes_view_back"),
        *("cleans", "backs_up", "restores_backup", "is_killed", "is_killed", "is_killed"),
    )

    def _write(self, folder: Path, number: int) -> None:
        """Photos that look unlike each other, or an export would refuse them."""
        super()._write(folder, number)
        pixels = np.random.default_rng(next(self.numbers)).integers(0, 255, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((100, 80), Image.Resampling.NEAREST).save(folder / f"{number}.jpg")

    def _agar(self, *words: str) -> bool:
        """Whether a command ended well; anything but a refusal in words is a fault."""
        done = CliRunner().invoke(agar, words, env={"AGAR_HOME": str(self.home)})
        if done.exception is not None and not isinstance(done.exception, PipelineError | SystemExit):
            raise done.exception
        return done.exit_code == 0

    # What the person does

    def deletes_sample(self, folder: int, number: int) -> None:
        if (row := self._one(number)) is not None:
            self.person.does(self.dataset, "dataset.delete_samples([identity])", identity=str(row["_id"]))
            self._forget(row["_id"])

    def deletes_photo(self, folder: int, number: int) -> None:
        for path in (photo := self._photo(folder, number)), photo.with_suffix(".json"):
            path.unlink(missing_ok=True)

    def _outs(self) -> list[Path]:
        return [self.place / "out-0", self.place / "out-1", *self.folders, self.place]

    def _made(self, number: int, suffix: str = "") -> Path | None:
        """A file of an export that is as it was made; what a killed command left half made is hidden, and nobody's."""
        there = sorted(path for path in self.ours if path.is_file() and path.name.endswith(suffix))
        there = [path for path in there if not any(part.startswith(".") for part in path.relative_to(self.place).parts)]
        return there[number % len(there)] if there else None

    def edits_export(self, folder: int, number: int) -> None:
        """Edits a file there (as editors do, a new one in its place), or adds one beside it."""
        if (path := self._made(number)) is None:
            return
        content = path.read_bytes() + f"{next(self.numbers)};".encode()
        if folder:
            path.with_name(f"mine-{next(self.numbers)}{path.suffix}").write_bytes(content)
        elif not path.is_symlink():
            path.unlink()
            path.write_bytes(content)

    def adopts(self, folder: int, number: int) -> None:
        """Makes a photo of an export a sample of their own."""
        photo = self._made(number, ".jpg")
        if photo is not None and not self.samples.find_one({"filepath": str(photo)}):
            self.person.adds(self.dataset, photo, 1)
            row = self.samples.find_one({"filepath": str(photo)})
            self.own[row["_id"]] = row

    def loses_list(self, folder: int, number: int) -> None:
        out = self._outs()[folder]
        if (out / ".agar-made.json").exists():
            (out / ".agar-made.json").unlink()
            self.ours = {path: content for path, content in self.ours.items() if not path.is_relative_to(out)}

    def links_photos(self, folder: int, number: int) -> None:
        """A link to a folder of photos where an export has its photos."""
        images, photos = self._outs()[folder] / "images", self.folders[number % 2]
        if images.is_dir() and not images.is_symlink() and photos.exists():
            images.rename(images.with_name(f"images-{next(self.numbers)}"))
            images.symlink_to(photos)
            self.ours = {path: content for path, content in self.ours.items() if not path.is_relative_to(images)}

    def edits_restored(self, folder: int, number: int) -> None:
        name = f"{self.dataset}-{folder}"
        rows = list(self._samples(name).find({}).sort("_id"))
        if rows:
            row = rows[number % len(rows)]
            box = {"_id": ObjectId(), "_cls": "Detection", "label": f"drawn {number}", "bounding_box": [0.1] * 4}
            self._samples(name).update_one({"_id": row["_id"]}, {"$push": {"ground_truth.detections": box}})
            self.restored[name, row["_id"]] = self._samples(name).find_one({"_id": row["_id"]})

    def edits_predictions(self, folder: int, number: int) -> None:
        fields = RunFields(RUNS[folder].name)
        rows = list(self.samples.find({fields.name: {"$exists": True}}).sort("_id"))
        if rows:
            identity = rows[number % len(rows)]["_id"]
            box = {"_id": ObjectId(), "_cls": "Detection", "label": f"drawn {number}", "bounding_box": [0.1] * 4}
            self.samples.update_one({"_id": identity}, {"$push": {f"{fields.name}.detections": box}})
            row = self.samples.find_one({"_id": identity})
            self.predictions[identity, fields.name] = {name: row.get(name) for name in fields.names}

    # What the software does

    def imports(self, folder: int, number: int) -> None:
        """A folder that was away may be one of an export by now, in which nothing is to import."""
        with self._command(), contextlib.suppress(PipelineError):
            super().imports(folder, number)

    def exports(self, folder: int, number: int) -> None:
        words, out = self._export_words(folder, number)
        with self._command(out):
            self._agar(*words)
        self._learn_snapshots()

    def _export_words(self, folder: int, number: int) -> tuple[list[str], Path]:
        out = self._outs()[(folder + number // 4) % 5 if number % 3 == 0 else folder]
        words = ["export-coco", "--dataset", self.dataset, "--out-dir", str(out), "--fractions", "0.5", "0.5"]
        words += ["--group-by", "duplicates"]
        return [*words, "--media", *MEDIA[number % 4]], out

    def _learn_snapshots(self) -> None:
        """Of this sequence: those that hold photos of its folders."""
        for root in Store(self.home).roots(Key("snapshot")):
            text = root / "dataset.json"
            if root not in self.snapshots and text.exists() and f'"{self.dataset}"' in text.read_text():
                self.snapshots[root] = files_in(root)

    def _restore_words(self, folder: int, number: int) -> list[str] | None:
        roots = sorted(self.snapshots)
        if not roots:
            return None
        name = self.dataset if number % 5 == 0 else f"{self.dataset}-{folder}"
        self.known_names.add(name)
        return ["restore", str(roots[number % len(roots)]), "--dataset", name]

    def restores(self, folder: int, number: int) -> None:
        if (words := self._restore_words(folder, number)) is None:
            return
        name = words[-1]
        with self._command():
            complete = self._agar(*words)
        if complete and name != self.dataset:
            self.restored |= {(name, row["_id"]): row for row in self._samples(name).find()}

    def cleans(self, folder: int, number: int) -> None:
        with self._command():
            assert self._agar("clean", "--yes")

    def _backup(self, number: int) -> Path:
        return self.place / f"saved-{number % 2}.agar"

    def backs_up(self, folder: int, number: int) -> None:
        path = self._backup(number)
        with self._command(path):
            self._agar("backup", str(path))
        self.ours.pop(path, None)

    def restores_backup(self, folder: int, number: int) -> None:
        if (path := self._backup(number)).exists():
            with self._command():
                self._agar("backup", "--restore", str(path))

    def _view(self, folder: int, number: int) -> Callable[[], object]:
        rows = list(self.samples.find({}).sort("_id"))
        run = RUNS[folder]
        record: Any = SimpleNamespace(key=SimpleNamespace(experiment="e"), manifest=run)
        read = _evaluated(self.dataset, RunFields(run.name), rows, number)
        store = Store(self.home)
        return lambda: _with_read(read, lambda: viewing.write_run(store, record, "embedded", self.home, 2, print))

    def _view_back(self, folder: int, number: int) -> Callable[[], object]:
        runs = [RUNS[folder].name]
        return lambda: viewing.remove_runs(self.dataset, runs, "embedded", self.home, lambda text: None)

    def views(self, folder: int, number: int) -> None:
        with self._command(), contextlib.suppress(PipelineError):
            self._view(folder, number)()

    def takes_view_back(self, folder: int, number: int) -> None:
        with self._command(), contextlib.suppress(PipelineError):
            self._view_back(folder, number)()

    def is_killed(self, folder: int, number: int) -> None:
        """SIGKILL in the middle of any of these."""
        which, number = number % 10, number // 10
        words, out = self._export_words(folder, number)
        given = self._restore_words(folder, number) or ["clean", "--yes"]
        photos, saved = self.folders[folder], self._backup(number)
        works: list[tuple[Callable[[], object], Path | None]] = [
            (lambda: self._agar(*words), out),
            (lambda: self._agar(*words), out),
            (lambda: self.run_import(photos, self.class_map), None),
            (lambda: self._agar(*given), None),
            (self._view(folder, number), None),
            (self._view_back(folder, number), None),
            (self._review(number), None),
            (self._accept(number), None),
            (self._review_back(), None),
            (lambda: self._agar("backup", str(saved)), self.place),
        ]
        do, where = works[which]
        with self._command(where):
            run_and_kill(do, (self.place, self.home), number)
        self.ours.pop(saved, None)
        self._learn_snapshots()


def _with_read(read: Any, do: Callable[[], object]) -> object:
    """An evaluation that nobody trained for: the boxes are given."""
    with mock.patch.object(viewing, "read_evaluated", return_value=read):
        return do()


def _evaluated(dataset: str, fields: RunFields, rows: list[dict[str, Any]], number: int) -> PredictedPlates:
    boxes, images = _boxes(rows, number), [str(row["filepath"]) for row in rows]
    every, sizes_wh = Calibration(CountRule()), boxes.sizes_wh
    circles_px = np.tile(WHOLE_IMAGE, (len(rows), 1))
    return PredictedPlates(
        dataset, fields, boxes, images, Path("/"), sizes_wh, circles_px, {"coli": 1}, every, "agar view"
    )


def _boxes(rows: list[dict[str, Any]], number: int) -> PlateBoxes:
    count = len(rows)
    return PlateBoxes(
        sample_ids=[str(row["_id"]) for row in rows],
        sizes_wh=np.full((count, 2), 100),
        count_errors=np.arange(count) - number % 3,
        plates=np.arange(count),
        labels=np.full(count, "coli", dtype=object),
        kinds=np.array(list(itertools.islice(itertools.cycle(("true_positive", "missed")), count)), dtype=object),
        scores=np.full(count, 0.5 + number % 3 / 10),
        boxes_xywh=np.full((count, 4), 10.0),
    )
