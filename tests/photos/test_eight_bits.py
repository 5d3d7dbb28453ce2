"""What a photo's file holds becomes the same 8 bits for training, prediction, copies and pages, or is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.errors import ImageFileError
from agar_pipeline.labels.file_facts import read_facts
from agar_pipeline.media.shrink import shrink
from agar_pipeline.photos.load_and_resize import load_image, read_photo
from agar_pipeline.reports.pictures import open_photo
from agar_pipeline.splitting.picture_hashes import look_at

Write = Callable[[Path], object]
"""Writes a photo there."""
WIDTH, HEIGHT = 96, 64
RAMP = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
"""Black at the left, white at the right."""


def deep(bits: int, kind: type = np.uint16) -> np.ndarray:
    """The ramp with this many bits, in a wider number."""
    return (RAMP.astype(np.float64) / 255 * (2**bits - 1)).round().astype(kind)


def save(pixels: np.ndarray, **options: Any) -> Write:
    return lambda path: Image.fromarray(pixels).save(path, **options)


def colour_png(colours: np.ndarray) -> Write:
    """PIL writes no 16-bit colours: (H, W, 3 or 4) uint16 by hand."""
    height, width, bands = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def colour_tiff(colours: np.ndarray, **options: Any) -> Write:
    """16-bit colours, as microscopes write them."""
    import tifffile

    return lambda path: tifffile.imwrite(path, colours, photometric="rgb", **options)


def three(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


def opaque(gray: np.ndarray) -> np.ndarray:
    return np.concatenate([three(gray), np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)], axis=2)


READ: dict[str, tuple[str, Write]] = {
    "12 bits in 16, PNG": ("a.png", save(deep(12))),
    "12 bits in 16, TIFF": ("a.tif", save(deep(12))),
    "10 bits in 16": ("a.tif", save(deep(10))),
    "16 bits": ("a.png", save(deep(16))),
    "8 bits in 16": ("a.png", save(deep(8))),
    "int32 with 8 bits used": ("a.tif", save(deep(8, np.int32))),
    "int32 with 16 bits used": ("a.tif", save(deep(16, np.int32))),
    "int32 with 30 bits used": ("a.tif", save(deep(30, np.int32))),
    "12 bits in 16, colour PNG": ("a.png", colour_png(three(deep(12)))),
    "16 bits, colour PNG": ("a.png", colour_png(three(deep(16)))),
    "12 bits in 16, colour PNG with alpha": ("a.png", colour_png(opaque(deep(12)))),
    "12 bits in 16, colour TIFF": ("a.tif", colour_tiff(three(deep(12)))),
    "14 bits in 16, compressed colour TIFF": ("a.tif", colour_tiff(three(deep(14)), compression="zlib")),
    "12 bits in 16, big-endian colour TIFF": ("a.tif", colour_tiff(three(deep(12)), byteorder=">")),
    "white is 0, 16 bits": ("a.tif", save(65535 - deep(16), tiffinfo={262: 0})),
    "a palette": ("a.png", lambda path: Image.fromarray(RAMP).quantize(256).save(path)),
    "8 bits": ("a.png", save(RAMP)),
    "CMYK": ("a.tif", lambda path: Image.fromarray(three(RAMP)).convert("CMYK").save(path)),
    "a whole JPEG": ("a.jpg", save(three(RAMP), quality=95, subsampling=0)),
    "PPM with 12 bits": (
        "a.pgm",
        lambda path: path.write_bytes(b"P5 %d %d 4095\n" % (WIDTH, HEIGHT) + deep(12).astype(">u2").tobytes()),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_a_ramp_from_black_to_white_is_one_everywhere(tmp_path: Path, case: str) -> None:
    name, write = READ[case]
    path = tmp_path / name
    write(path)
    copy = shrink(path.read_bytes(), path, (WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2))
    page = open_photo(path, WIDTH)[0]
    seen = look_at(path, WIDTH)
    assert seen is not None
    for read in (
        load_image(path, None)[0],
        read_photo(path, None).pixels,
        np.asarray(page),
        np.asarray(Image.open(io.BytesIO(copy)).resize((WIDTH, HEIGHT))),
        three(np.asarray(seen)),
    ):
        assert np.abs(read.astype(int) - three(RAMP)).max() <= 8
    assert np.abs(load_image(path, None)[0].astype(int) - three(RAMP)).max() <= 3
    assert not read_facts(path, deep=True).blank


REFUSED: dict[str, tuple[str, Write, str]] = {
    "floating-point numbers": ("a.tif", save(deep(8).astype(np.float32) / 255), "floating-point"),
    "negative numbers": ("a.tif", save(deep(12, np.int32) - 100), "down to -100"),
    "white is 0, 12 of 16 bits": ("a.tif", save(4095 - deep(12), tiffinfo={262: 0}), "0 is its white"),
    "16-bit gray with alpha, 12 of them used": (
        "a.png",
        colour_png(np.stack([deep(12), np.full_like(deep(12), 65535)], axis=2)),
        "are used",
    ),
    "planes of 16 bits": (
        "a.tif",
        lambda path: colour_tiff(np.moveaxis(three(deep(12)), 2, 0), planarconfig="separate")(path),
        "colours lie apart",
    ),
    "a camera's raw file": ("a.DNG", save(RAMP, format="TIFF"), "develop it"),
    "a raw file under another name": ("a.tif", save(RAMP, tiffinfo={50706: b"\1\4\0\0"}), "develop it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_known_range_is_refused_with_what_to_do(tmp_path: Path, case: str) -> None:
    name, write, words = REFUSED[case]
    path = tmp_path / name
    write(path)
    for read in (lambda: load_image(path, 32), lambda: shrink(path.read_bytes(), path, (WIDTH, HEIGHT), (48, 32))):
        with pytest.raises(ImageFileError, match=words) as caught:
            read()
        assert caught.value.where == str(path)
        assert caught.value.next_step
    facts = read_facts(path, deep=False)
    assert (facts.rule, words in facts.reason) == ("unreadable_image", True), facts


def test_pages_bits_and_nothing_to_be_seen_are_said(tmp_path: Path) -> None:
    page = Image.fromarray(three(RAMP))
    for name in ("pages.tif", "pages.gif", "pages.png"):
        page.save(tmp_path / name, save_all=True, append_images=[Image.fromarray(255 - three(RAMP))])
        assert "2 pages, of which only the first is read" in read_facts(tmp_path / name, deep=False).peculiar
        assert read_photo(tmp_path / name, 32).notes == ("2 pages, of which only the first is read",)
    Image.fromarray(deep(12)).save(tmp_path / "deep.png")
    assert read_facts(tmp_path / "deep.png", deep=False).peculiar == "16 bits per pixel, 12 of them used"
    grain = np.random.default_rng(0).integers(0, 12, (HEIGHT, WIDTH), np.uint8)
    blank = {"dark.png": grain, "dark.jpg": grain, "flat.jpg": np.full((HEIGHT, WIDTH), 180, np.uint8)}
    hot = np.full((HEIGHT, WIDTH), 3, np.uint8)
    hot[5, 7] = 255
    for name, pixels in {**blank, "one hot pixel.png": hot, "red.png": three(RAMP) * 0 + [200, 0, 0]}.items():
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
        assert read_facts(tmp_path / name, deep=True).blank.startswith("nearly"), name
        assert read_photo(tmp_path / name, None).notes[0].startswith("nearly"), name
    assert read_facts(tmp_path / "flat.jpg", deep=False).blank, "so few bytes are looked at in any case"
