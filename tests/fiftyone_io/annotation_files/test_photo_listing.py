"""Everything in a folder that looks like a photo is read or named, and what systems hide there is passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from agar_pipeline.fiftyone_io.annotation_files.agar_files import read_folder
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource, Reading
from agar_pipeline.fiftyone_io.annotation_files.coco_files import read_folder as read_coco_folder
from agar_pipeline.photos import formats

LABELS = json.dumps({"labels": [{"class": "E.coli", "x": 1, "y": 2, "width": 9, "height": 8}]})
HEIC = b"\0\0\0\x18ftypheic" + bytes(200)


def read(folder: Path) -> Reading:
    return read_folder(ImportSource("agar", str(folder)), lambda done, total: None)


def add(folder: Path, name: str, content: bytes | None = None) -> None:
    """A photo with labels of its name beside it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        Image.linear_gradient("L").convert("RGB").save(path, {".jfif": "JPEG"}.get(path.suffix.lower()))
    else:
        path.write_bytes(content)
    path.with_suffix(".json").write_text(LABELS)


def test_photos_of_every_suffix_are_read_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_register_heif", lambda: False)
    for name in ("1.jpg", "3.jfif", "4.JPE", "5.gif", "6.avif", "7.PGM"):
        add(tmp_path, name) if name != "4.JPE" else add(tmp_path, name, (tmp_path / "1.jpg").read_bytes())
    add(tmp_path, "2.heic", HEIC)
    add(tmp_path, "phone.jpg", HEIC)
    add(tmp_path, "raw.dng", b"II*\0" + bytes(200))
    add(tmp_path, "slide.svs", b"II*\0" + bytes(200))
    (tmp_path / "1.cr2").write_bytes(b"II*\0" + bytes(200))
    (tmp_path / "unlabelled.nef").write_bytes(b"MM\0*" + bytes(200))
    found = read(tmp_path)
    assert [image.name for image in found.images] == ["1.jpg", "3.jfif", "4.JPE", "5.gif", "6.avif", "7.PGM"]
    problems = "\n".join(found.problems)
    assert len(found.problems) == 4
    for name, words in {
        "2.heic": "is HEIC, which cannot be read as an image without a plugin: install the plugin",
        "phone.jpg": "is HEIC, which cannot be read as an image without a plugin: install the plugin",
        "raw.dng": "a camera's raw file",
        "slide.svs": "a format of an instrument",
    }.items():
        assert [words in problem for problem in found.problems if name in problem] == [True], problems
    assert found.images_without_annotation == ["unlabelled.nef"]
    assert not found.annotations_without_image
    assert found.passed_over.notes(tmp_path) == [
        "files that cannot be read here are skipped, because a photo of the same name is beside them: 1 (1.cr2)"
    ]


def test_hidden_files_and_folders_are_passed_over_with_one_note(tmp_path: Path) -> None:
    add(tmp_path, "1.jpg")
    for name in ("._1.jpg", "__MACOSX/1.jpg", ".ipynb_checkpoints/1-checkpoint.jpg", "@eaDir/1.jpg/SYNOPHOTO.jpg"):
        add(tmp_path, name, b"no photo")
    (tmp_path / "Thumbs.db").write_bytes(b"no photo")
    (tmp_path / "training_lists").mkdir()
    (tmp_path / "training_lists" / "._train.txt").write_bytes(b"\0\5\x16\7")
    found = read(tmp_path)
    assert [image.name for image in found.images] == ["1.jpg"]
    assert (found.problems, found.annotations_without_image, found.images_without_annotation) == ([], [], [])
    (note,) = found.passed_over.notes(tmp_path)
    assert note.startswith("hidden files or folders are skipped: 6 (")
    assert len(note) < 200
    hidden = tmp_path / ".data"
    add(hidden, "1.jpg")
    assert len(read(hidden).images) == 1, "a folder that was named is read, whatever it is called"


def test_a_coco_file_beside_its_own_shadow_is_found(tmp_path: Path) -> None:
    pytest.importorskip("fiftyone")
    Image.linear_gradient("L").save(tmp_path / "a.png")
    plain = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}
    (tmp_path / "labels.json").write_text(json.dumps(plain))
    (tmp_path / "._labels.json").write_bytes(b"\0\5\x16\7")
    found = read_coco_folder(ImportSource("coco", str(tmp_path)), lambda done, total: None)
    assert [image.name for image in found.images] == ["a.png"]


@pytest.mark.skipif(not formats._register_heif(), reason="pillow-heif is not installed: the extra `heic`")
def test_heic_is_read_like_any_photo(tmp_path: Path) -> None:
    import numpy as np

    from agar_pipeline.labels.file_facts import read_facts
    from agar_pipeline.photos.load_and_resize import load_image

    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.linear_gradient("L").convert("RGB").resize((96, 64))
    photo.info["exif"] = exif.tobytes()
    photo.save(tmp_path / "1.heic", quality=95)
    (tmp_path / "1.json").write_text(LABELS)
    (image,) = read(tmp_path).images
    pixels, _ = load_image(tmp_path / "1.heic", None, (image.metadata["width"], image.metadata["height"]))
    facts = read_facts(tmp_path / "1.heic", deep=True)
    assert (facts.rule, facts.format, facts.displayed_wh) == ("", "HEIF", pixels.shape[1::-1])
    shown = np.asarray(photo.transpose(Image.Transpose.ROTATE_270))
    assert shown.shape == pixels.shape
    assert np.abs(pixels.astype(int) - shown.astype(int)).mean() < 4
