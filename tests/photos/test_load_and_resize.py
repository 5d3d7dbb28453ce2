"""Photos as displayed, at the model's scale; every broken file is named."""

import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.errors import ImageFileError
from agar_pipeline.labels.file_facts import read_facts
from agar_pipeline.photos.image_paths import safe_image_path
from agar_pipeline.photos.load_and_resize import image_errors, load_image, open_checked


def _gradient(width: int, height: int) -> np.ndarray:
    """Red grows to the right, green grows downwards: shows every flip and turn."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)


def _save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("size_wh", "max_side"),
    [
        pytest.param((400, 300), 100, id="a photo is reduced"),
        pytest.param((50, 100), 320, id="a small photo is enlarged"),
        pytest.param((2048, 2048), 1024, id="a plate is decoded at half scale"),
        pytest.param((640, 40), 320, id="a thin photo keeps its shape"),
    ],
)
def test_load_image_makes_the_longer_side_exact(tmp_path: Path, size_wh: tuple[int, int], max_side: int) -> None:
    path = _save(tmp_path / "a.jpg", _gradient(*size_wh), quality=95)
    pixels, scale = load_image(path, max_side, size_wh)
    assert max(pixels.shape[:2]) == max_side
    assert scale == max_side / max(size_wh)
    assert abs(pixels.shape[0] - size_wh[1] * scale) <= 1
    wanted = Image.fromarray(_gradient(*size_wh)).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR)
    assert np.abs(pixels.astype(int) - np.asarray(wanted).astype(int)).mean() < 3


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_image_shows_a_photo_as_displayed(tmp_path: Path, orientation: int, suffix: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(tmp_path / f"a.{suffix}", _gradient(120, 80), quality=95, exif=exif)
    with Image.open(path) as photo:
        displayed = np.asarray(ImageOps.exif_transpose(photo))
    pixels, _ = load_image(path, 120, displayed.shape[1::-1])
    assert pixels.shape == displayed.shape
    assert np.abs(pixels.astype(int) - displayed.astype(int)).mean() < 2


def test_load_image_reads_cmyk_16_bit_and_alpha(tmp_path: Path) -> None:
    Image.fromarray(_gradient(60, 40)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.full((40, 60), 51400, np.uint16)).save(tmp_path / "deep.png")
    clear = np.zeros((40, 60, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(np.full((40, 60), 99, np.uint8)).save(tmp_path / "grey.jpg")
    assert load_image(tmp_path / "cmyk.jpg", 60)[0][20, 50, 0] > 150
    assert load_image(tmp_path / "deep.png", 60)[0][0, 0].tolist() == [200] * 3
    assert load_image(tmp_path / "clear.png", 60)[0][0, 0].tolist() == [255] * 3
    assert load_image(tmp_path / "grey.jpg", 60)[0][0, 0].tolist() == [99] * 3


def test_load_image_reads_palettes_and_wrong_extensions_and_refuses_unknown_ranges(tmp_path: Path) -> None:
    red = Image.new("RGB", (60, 40), (200, 10, 10))
    red.quantize(4).save(tmp_path / "palette.png")
    red.save(tmp_path / "really a png.jpg", format="PNG")
    grey = Image.new("L", (60, 40), 99)
    grey.putalpha(128)
    grey.save(tmp_path / "grey and half clear.png")
    for name in ("palette.png", "really a png.jpg"):
        assert np.abs(load_image(tmp_path / name, 60)[0][20, 30].astype(int) - [200, 10, 10]).max() <= 2
    assert abs(int(load_image(tmp_path / "grey and half clear.png", 60)[0][0, 0, 0]) - 177) <= 1  # on white
    Image.fromarray(np.full((40, 60), 0.5, np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ImageFileError, match=r"float\.tif cannot be used: its pixels are floating-point"):
        load_image(tmp_path / "float.tif", 60)


def test_damaged_exif_data_does_not_stop_a_photo(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.jpg", _gradient(120, 80), exif=b"Exif\0\0no tiff header at all")
    assert load_image(path, 60, (120, 80))[0].shape == (40, 60, 3)


def test_load_image_names_a_broken_file(tmp_path: Path) -> None:
    whole = _save(tmp_path / "whole.jpg", np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    for name, content in {"cut.jpg": whole.read_bytes()[:9000], "text.jpg": b"hello", "empty.png": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageFileError, match="cannot be read as an image") as caught:
            load_image(tmp_path / name, 100)
        assert (caught.value.where, caught.value.next_step) == (str(tmp_path / name), "replace it or remove it")
    with pytest.raises(ImageFileError, match=r"whole\.jpg is 200×200 pixels, the COCO file says 300×200") as caught:
        load_image(whole, 100, (300, 200))
    assert caught.value.where == str(whole)
    assert "put the original photo back" in (caught.value.next_step or "")


def claiming(path: Path, width: int, height: int) -> Path:
    """The start of a PNG, whose header claims a size."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", b""))
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data)) for kind, data in parts
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def test_one_limit_of_pixels_is_that_of_every_reader(tmp_path: Path) -> None:
    """PIL's own limit, 179 million pixels, refused photos that the message said to be small enough."""
    small, large = claiming(tmp_path / "small.png", 25_000, 10_000), claiming(tmp_path / "large.png", 25_001, 10_000)
    with image_errors(small):
        assert open_checked(small.read_bytes(), small).size == (25_000, 10_000)
    assert read_facts(small, deep=False).rule != "oversized_image"
    with pytest.raises(ImageFileError, match=r"large\.png has more than 250,000,000 pixels, .*250010000") as caught:
        load_image(large, 100)
    assert caught.value.next_step == "save it with fewer pixels, or remove it"
    facts = read_facts(large, deep=False)
    assert (facts.rule, "more than 250,000,000 pixels" in facts.reason) == ("oversized_image", True)


UNSAFE = ["/etc/passwd", "../x.jpg", "a/../../x.jpg", "a\0.jpg", "", "sub", "link.jpg", "no.jpg"]


@pytest.mark.parametrize("name", UNSAFE)
def test_safe_image_path_stays_inside_the_folder(tmp_path: Path, name: str) -> None:
    images_dir = tmp_path / "images"
    (images_dir / "sub").mkdir(parents=True)
    (tmp_path / "x.jpg").write_bytes(b"x")
    (images_dir / "link.jpg").symlink_to(tmp_path / "x.jpg")
    with pytest.raises(ImageFileError) as caught:
        safe_image_path(images_dir, name)
    assert caught.value.where
    assert caught.value.next_step


def test_safe_image_path_follows_links_inside(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "x.jpg")
    assert safe_image_path(tmp_path, "link.jpg") == (tmp_path / "x.jpg").resolve()
