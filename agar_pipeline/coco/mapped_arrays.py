"""Arrays and texts on disk that are memory-mapped and shared by processes; a pickle contains only their paths.

Here: one column at a time. Not here: which columns a COCO file has (`mapped_columns`).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_SMALL_BYTES = 4096
"""Files up to this size are read instead: mapping takes as long, and an empty array cannot be mapped."""


def save_array(path: Path, array: np.ndarray) -> None:
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


class GrowingArray:
    """A .npy file to which rows are appended; the result equals what `save_array` writes for all rows at once."""

    def __init__(self, path: Path) -> None:
        self._file, self._rows = path.open("wb"), 0
        self._kind: tuple[tuple[int, ...], np.dtype[Any]] | None = None

    def append(self, rows: np.ndarray) -> None:
        """Append rows, of the shape and type of the first ones."""
        rows = np.ascontiguousarray(rows)
        if self._kind is None:
            self._kind = rows.shape[1:], rows.dtype
            self._write_header()
        if self._kind != (rows.shape[1:], rows.dtype):
            raise ValueError(f"rows of {rows.shape[1:]} {rows.dtype}, not of {self._kind}")
        self._rows += len(rows)
        self._file.write(rows.data)

    def finish(self) -> None:
        """Write the number of rows into the header, which has room for any number, and close the file."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        shape, dtype = self._kind or ((), np.dtype(np.int64))
        kind = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, {**kind, "shape": (self._rows, *shape)})


def open_array(path: Path) -> np.ndarray:
    """Map a .npy file, read-only.

    Raises:
        OSError: it does not exist.
        ValueError: it is truncated.
    """
    if path.stat().st_size <= _SMALL_BYTES:
        return np.load(path, allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)  # np.memmap itself is slow to index


def release_pages(array: np.ndarray) -> None:
    """Release the pages of a mapped array from this process's memory; they are mapped again when they are accessed."""
    buffer = array.base.base if isinstance(array.base, np.memmap) else None
    if isinstance(buffer, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        buffer.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class _OnDisk:
    """Replaces a mapped array in a pickle."""

    path: str


def to_portable(value: Any) -> Any:
    """Replace a whole mapped array by its path, so that pickling copies nothing; other values are unchanged."""
    base = value.base if isinstance(value, np.ndarray) else None
    if isinstance(base, np.memmap) and (base.shape, base.dtype) == (value.shape, value.dtype):
        return _OnDisk(str(base.filename))
    return value


def from_portable(value: Any) -> Any:
    """Inverse of `to_portable`, in any process."""
    return open_array(Path(value.path)) if isinstance(value, _OnDisk) else value


@dataclass(frozen=True)
class TextColumn:
    """Concatenated texts in two arrays; a str is made when an element is accessed.

    >>> names = TextColumn.of(["a.jpg", "b.jpg"])
    >>> names[1], names[:].tolist()
    ('b.jpg', ['a.jpg', 'b.jpg'])
    """

    utf8: np.ndarray
    """(B,) uint8."""
    ends: np.ndarray
    """(N + 1,) int64, the first is 0: text i is `utf8[ends[i]:ends[i + 1]]`."""

    @classmethod
    def of(cls, texts: Sequence[str] | np.ndarray | TextColumn) -> TextColumn:
        encoded = [text.encode(errors="surrogatepass") for text in texts]
        ends = np.concatenate([[0], np.cumsum([len(one) for one in encoded], dtype=np.int64)]).astype(np.int64)
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, rows: Any) -> Any:
        """The text of a row; for a slice, a mask or an array of rows, an array of texts."""
        if isinstance(rows, int | np.integer):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of {len(self)} texts")
            return self._text(int(rows) % len(self))
        chosen = np.arange(len(self))[rows]
        return np.array([self._text(row) for row in chosen.tolist()], dtype=object)

    def __iter__(self) -> Iterator[str]:
        return (self._text(row) for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or object)

    def tolist(self) -> list[str]:
        return list(self)

    def _text(self, row: int) -> str:
        return self.utf8[self.ends[row] : self.ends[row + 1]].tobytes().decode(errors="surrogatepass")

    def __getstate__(self) -> dict[str, Any]:
        return {name: to_portable(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: from_portable(value) for name, value in state.items()})
