"""One photo from disk to the size that the model sees.

Here: finding the file safely, decoding, orientation, resizing. Not here: boxes, augmentation.
"""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from PIL import Image

from agar_pipeline.errors import ImageFileError

MAX_PIXELS = 250_000_000
"""A photo with more is refused: a small file can claim any size and fill the memory."""
_EXIF_ORIENTATION = 0x0112


def safe_image_path(images_dir: Path, file_name: str) -> Path:
    """The file of an image, which must be a regular file inside `images_dir`, symbolic links followed.

    Raises:
        ImageFileError: `file_name` is absolute, climbs out with `..`, holds a NUL, leads out through a link,
            does not exist, or is not a regular file.
    """
    shown = f"file_name {file_name!r}"
    if "\0" in file_name or not file_name:
        raise ImageFileError(f"{shown} is no file name: mend it in the COCO file")
    if Path(file_name).is_absolute() or ".." in Path(file_name).parts:
        raise ImageFileError(f"{shown} must be relative to {images_dir} and stay inside it: mend it in the COCO file")
    root = Path(images_dir).resolve()
    try:
        path = (root / file_name).resolve()
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise ImageFileError(f"{root / file_name} does not exist: add it, or give another images folder") from None
    except (OSError, RuntimeError) as error:
        raise ImageFileError(f"{root / file_name} cannot be reached: {error}") from error
    if not path.is_relative_to(root):
        raise ImageFileError(f"{root / file_name} is a link out of the images folder to {path}: copy the file instead")
    if not stat.S_ISREG(mode):
        raise ImageFileError(f"{path} is not a regular file: remove the image from the COCO file")
    return path


def load_image(path: Path, max_side: int, size_wh: tuple[int, int] | None = None) -> tuple[np.ndarray, float]:
    """Read a photo as displayed, its longer side made `max_side`.

    A JPEG is decoded at the smallest DCT scale that is not below the target, then resized antialiased on uint8:
    2048 → 1024 px in 10 ms instead of 227 ms for float tensors.

    Args:
        path: JPEG, PNG, TIFF or whatever else PIL reads; EXIF orientation is applied.
        max_side: Pixels of the longer side of the answer; smaller photos are enlarged.
        size_wh: The displayed size that the COCO file states, if it is to be checked.

    Returns:
        (H, W, 3) uint8 RGB, and the scale: pixels of the answer per pixel of the photo.

    Raises:
        ImageFileError: unreadable, truncated, larger than MAX_PIXELS, or of another size than `size_wh`.
    """
    try:
        with warnings.catch_warnings():  # PIL warns at 89 million pixels; the limit here is ours
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _load(path.read_bytes(), path, max_side, size_wh)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, MemoryError) as error:
        raise ImageFileError(f"{path} cannot be read as an image ({error}): replace or remove it") from error


def _load(data: bytes, path: Path, max_side: int, size_wh: tuple[int, int] | None) -> tuple[np.ndarray, float]:
    photo = Image.open(io.BytesIO(data))
    if photo.width * photo.height > MAX_PIXELS:
        raise ImageFileError(f"{path} has {photo.width}×{photo.height} pixels, more than {MAX_PIXELS:,}: remove it")
    orientation = photo.getexif().get(_EXIF_ORIENTATION, 1)
    stored_wh = photo.size
    displayed_wh = stored_wh[::-1] if orientation in (5, 6, 7, 8) else stored_wh
    if size_wh is not None and displayed_wh != tuple(size_wh):
        raise ImageFileError(
            f"{path} is {displayed_wh[0]}×{displayed_wh[1]} pixels, the COCO file says {size_wh[0]}×{size_wh[1]}: "
            "its boxes would be misplaced; make the dataset again from the current photos"
        )
    scale = max_side / max(stored_wh)
    target_wh = (max(1, round(stored_wh[0] * scale)), max(1, round(stored_wh[1] * scale)))
    pixels = _resize(_decode(data, photo, target_wh), target_wh)
    return np.ascontiguousarray(_orient(pixels, orientation)), scale


def _decode(data: bytes, photo: Image.Image, target_wh: tuple[int, int]) -> np.ndarray:
    if photo.format in {"JPEG", "MPO"} and photo.mode in {"RGB", "L"}:
        try:
            return simplejpeg.decode_jpeg(data, "RGB", min_width=target_wh[0], min_height=target_wh[1])
        except ValueError:  # libjpeg's warnings count as errors there; PIL knows which of them matter
            pass
    return _decode_with_pil(photo)


def _decode_with_pil(photo: Image.Image) -> np.ndarray:
    if photo.mode.startswith("I;16") or photo.mode == "I":
        grey = np.asarray(photo).astype(np.uint32) >> 8
        return np.repeat(np.minimum(grey, 255).astype(np.uint8)[..., None], 3, axis=2)
    if photo.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in photo.info:
        rgba = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(photo.convert("RGB"))


def _resize(pixels: np.ndarray, target_wh: tuple[int, int]) -> np.ndarray:
    if pixels.shape[:2] == target_wh[::-1]:
        return pixels
    chw = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # channels last: the quick uint8 kernel
    resized = torch.nn.functional.interpolate(chw, size=target_wh[::-1], mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def _orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W, 3) stored pixels to how EXIF says they are displayed."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
