"""Computes a perceptual hash and a thumbnail of each photo, and caches them under the home by the file's sha256.

Both come from one decoding of the photo; a photo in the cache is not opened again.
"""

from __future__ import annotations

import hashlib
import sqlite3
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from agar_pipeline.cluster.partitions import open_pool
from agar_pipeline.files.file_system import connect_sqlite, sqlite_trouble
from agar_pipeline.ownership.home import open_home
from agar_pipeline.photos.formats import open_image
from agar_pipeline.progress import Progress

HASH_SIDE = 16
"""Side of the hash: 16 × 16 = 256 bits. Of a hash of 64 bits, most would describe the round dish that plates share."""
LOOK_SIDE_PX = 256
"""Least side of a decoded photo: a JPEG is decoded at an eighth, a quarter or half its size if that is at least this
large, which takes 8 ms instead of 40 ms for 2048 pixels."""
THUMB_SIDES_PX = (24, 128)
"""Smallest and largest side of a thumbnail."""
METHOD = 3
"""Version of the cache: raise it when hashes or thumbnails are computed differently, so that old ones are deleted."""
_TOLD_EVERY = 100
_KEPT_EVERY = 500


@dataclass(frozen=True)
class Picture:
    """Perceptual hash and thumbnail of one photo."""

    bits: bytes
    """pHash of 256 bits; all zero if the photo cannot be decoded (the bbox report lists such photos)."""
    content: bytes
    """SHA-256 of the photo decoded small, in gray; photos with different values do not have the same pixels."""
    side_px: int
    """Side of the thumbnail; 0 if the photo cannot be decoded."""
    pixels: bytes
    """Thumbnail of side × side gray pixels."""


BLANK = Picture(bytes(HASH_SIDE * HASH_SIDE // 8), b"", 0, b"")


def see_pictures(paths: Sequence[Path], sha256: Sequence[str], home: Path, progress: Progress) -> list[Picture]:
    """Return the hash and thumbnail of each photo, from the cache or computed now.

    Args:
        home: Folder of the cache `picture_hashes.sqlite`.
        progress: Called with the number of processed photos, and the number of photos that are not in the cache.

    Raises:
        StorageError: The home is not writable.
    """
    path = home / "picture_hashes.sqlite"
    try:
        open_home(home)
        with closing(connect_sqlite(path)) as memory:
            known = _recall(memory)
            new = {digest: place for digest, place in zip(sha256, paths, strict=True) if digest not in known}
            with open_pool() as pool:
                seen = zip(new, pool.map(see, new.values()), strict=True)
                for done, (digest, picture) in enumerate(seen, start=1):
                    known[digest] = picture
                    row = (METHOD, digest, *astuple(picture))
                    if picture.side_px:  # not cached: a missing plugin may be installed later
                        memory.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?)", row)
                    if done % _TOLD_EVERY == 0 or done == len(new):
                        progress(done, len(new))
                    if done % _KEPT_EVERY == 0:
                        memory.commit()
            memory.commit()
    except sqlite3.Error as error:
        raise sqlite_trouble(path, error) from error
    return [known[digest] for digest in sha256]


def _recall(memory: sqlite3.Connection) -> dict[str, Picture]:
    memory.execute("DROP TABLE IF EXISTS hashes")  # table of an earlier release
    memory.execute(
        "CREATE TABLE IF NOT EXISTS pictures (method INT, sha256 TEXT, bits BLOB, content BLOB, side_px INT,"
        " pixels BLOB, PRIMARY KEY (method, sha256))"
    )
    memory.execute("DELETE FROM pictures WHERE method != ?", (METHOD,))
    rows = memory.execute("SELECT sha256, bits, content, side_px, pixels FROM pictures")
    return {digest: Picture(*row) for digest, *row in rows}


def hash_words(pictures: Sequence[Picture]) -> np.ndarray:
    """Return the hashes as (N, 4) uint64."""
    return np.frombuffer(b"".join(picture.bits for picture in pictures), dtype=np.uint64).reshape(-1, 4)


def see(path: Path) -> Picture:
    """Decode a photo at a small size, and compute its hash and thumbnail."""
    import imagehash

    gray = look_at(path, LOOK_SIDE_PX)
    if gray is None:
        return BLANK
    bits = np.packbits(imagehash.phash(gray, hash_size=HASH_SIDE).hash).tobytes()
    content = hashlib.sha256(repr(gray.size).encode() + gray.tobytes()).digest()
    side_px = int(np.clip(min(gray.size) // 4, *THUMB_SIDES_PX))
    return Picture(bits, content, side_px, shrink(gray, side_px))


def shrink(gray, side_px: int) -> bytes:  # type: ignore[no-untyped-def]  # a PIL image
    """Resize a gray picture to side × side pixels, and return its bytes."""
    from PIL import Image

    small: bytes = gray.resize((side_px, side_px), Image.Resampling.LANCZOS).tobytes()
    return small


def look_at(path: Path, side_px: int):  # type: ignore[no-untyped-def]  # PIL is imported late
    """Decode the photo in gray and upright, with sides of at least `side_px` if it has them; None if that fails."""
    from PIL import Image

    from agar_pipeline.photos.eight_bits import upright

    try:
        with warnings.catch_warnings(), open_image(path) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image.draft("L", (side_px, side_px))
            return upright(image).convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
