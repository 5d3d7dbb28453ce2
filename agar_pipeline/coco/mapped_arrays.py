"""Arrays and texts on disk that processes share: mapped, not read, and reopened by path where they are pickled.

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
"""Up to this size a file is read: a map would cost as much, and nothing at all cannot be mapped."""


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy."""
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


class GrowingArray:
    """A .npy file that rows are appended to, the same as `save_array` writes of all of them."""

    def __init__(self, path: Path) -> None:
        self._file, self._rows = path.open("wb"), 0
        self._kind: tuple[tuple[int, ...], np.dtype[Any]] | None = None

    def append(self, rows: np.ndarray) -> None:
        """More rows, of the shape and type of the first ones."""
        rows = np.ascontiguousarray(rows)
        if self._kind is None:
            self._kind = rows.shape[1:], rows.dtype
            self._write_header()
        if self._kind != (rows.shape[1:], rows.dtype):
            raise ValueError(f"rows of {rows.shape[1:]} {rows.dtype}, not of {self._kind}")
        self._rows += len(rows)
        self._file.write(rows.data)

    def finish(self) -> None:
        """Say in the header how many there are: it leaves room for any number."""
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
        OSError, ValueError: it is not there, or cut short.
    """
    if path.stat().st_size <= _SMALL_BYTES:
        return np.load(path, allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)  # np.memmap itself is slow to index


def release_pages(array: np.ndarray) -> None:
    """Count a mapped array no longer as memory of this process; what is wanted again is mapped again."""
    buffer = array.base.base if isinstance(array.base, np.memmap) else None
    if isinstance(buffer, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        buffer.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class _OnDisk:
    """Stands for a mapped array in a pickle."""

    path: str


def to_portable(value: Any) -> Any:
    """A whole mapped array as the path it is mapped from, so that pickling it copies nothing; others as they are."""
    base = value.base if isinstance(value, np.ndarray) else None
    if isinstance(base, np.memmap) and (base.shape, base.dtype) == (value.shape, value.dtype):
        return _OnDisk(str(base.filename))
    return value


def from_portable(value: Any) -> Any:
    """Inverse of `to_portable`, in whichever process."""
    return open_array(Path(value.path)) if isinstance(value, _OnDisk) else value


@dataclass(frozen=True)
class TextColumn:
    """Texts behind one another in two arrays; each becomes a str when it is asked for."""

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
        """The text of a row; of a slice, a mask or an array of rows, an array of texts."""
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
