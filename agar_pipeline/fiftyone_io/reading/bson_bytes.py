"""Values in raw BSON found for all documents at once, without making a Python object of each.

Documents that hold the same keys of the same types in the same order are walked together, one step of numpy per key.
Here: where values lie, and reading numbers and texts there. Not here: what they mean (`snapshot_files.batches`).
Layout: https://bsonspec.org/spec.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bson
import numpy as np
import pyarrow as pa

DOUBLE, TEXT, DOCUMENT, ARRAY, OBJECT_ID, NULL, INT32, INT64 = 0x01, 0x02, 0x03, 0x04, 0x07, 0x0A, 0x10, 0x12
MISSING = 0
"""Kind of a value that is not there."""
_FIXED_BYTES = {DOUBLE: 8, 0x06: 0, OBJECT_ID: 12, 0x08: 1, 0x09: 8, NULL: 0, INT32: 4, 0x11: 8, INT64: 8, 0x13: 16}
_LENGTH_AND_MORE = {TEXT: 4, DOCUMENT: 0, ARRAY: 0, 0x05: 5, 0x0D: 4, 0x0E: 4}
"""Kinds that start with their length as int32, and the bytes that this length does not count."""
_INT32 = struct.Struct("<i")


@dataclass(frozen=True)
class Values:
    """One value of each of R documents."""

    kinds: np.ndarray
    """(R,) uint8; MISSING where a document has none."""
    at: np.ndarray
    """(R,) int64 offset of the value, behind its name."""


def as_array(data: bytes) -> np.ndarray:
    """The bytes as (L,) uint8, not copied."""
    return np.frombuffer(data, np.uint8)


def document_starts(data: bytes) -> np.ndarray:
    """(R,) offsets of documents that lie one after another."""
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        at += _INT32.unpack_from(data, at)[0]
    return np.array(starts, dtype=np.int64)


def starts_in_array(data: bytes, array_at: int) -> list[int] | None:
    """Offsets of the documents in an array; None where it holds anything else."""
    starts: list[int] = []
    at, header, longer_from = array_at + 4, 3, 10  # type, the index as decimal digits, zero
    read = _INT32.unpack_from
    while data[at] == DOCUMENT:
        at += header
        starts.append(at)
        at += read(data, at)[0]
        if len(starts) == longer_from:
            header, longer_from = header + 1, 10 * longer_from
    return starts if data[at] == 0 else None


def find_values(data: np.ndarray, starts: np.ndarray, path: list[str]) -> Values:
    """The value at a path of keys in each document.

    Raises:
        ValueError: a document holds a kind of value that FiftyOne never writes (a regular expression, a pointer).
    """
    found = Values(np.zeros(len(starts), np.uint8), np.zeros(len(starts), np.int64))
    for rows, fields in layouts(data, starts, most=len(starts)):
        if fields is None:
            raise ValueError("a sample holds a kind of value that FiftyOne does not write")
        kind, at = fields.get(path[0], (MISSING, starts[rows]))
        if len(path) == 1:
            found.kinds[rows], found.at[rows] = kind, at
        elif kind == DOCUMENT:
            deeper = find_values(data, at, path[1:])
            found.kinds[rows], found.at[rows] = deeper.kinds, deeper.at
    return found


Fields = dict[str, tuple[int, np.ndarray]]
"""Key → kind, and (R,) offsets of the values."""


def layouts(data: np.ndarray, starts: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, Fields | None]]:
    """Groups of documents that hold the same keys of the same kinds in the same order.

    Yields:
        The rows of a group, and its fields; None instead for all rows that are left after `most` groups, or once a
        kind of unknown length comes.
    """
    left = np.arange(len(starts))
    for _ in range(most):
        if not left.size:
            return
        walked = _walk_like_first(data, starts[left])
        if walked is None:
            break
        fields, same = walked
        yield left[same], {name: (kind, at[same]) for name, (kind, at) in fields.items()}
        left = left[~same]
    if left.size:
        yield left, None


def _walk_like_first(data: np.ndarray, starts: np.ndarray) -> tuple[Fields, np.ndarray] | None:
    """The fields of the first document, in all documents; (R,) bool: which documents really have just these."""
    ends = starts + read_int32(data, starts) - 1
    same = np.ones(len(starts), dtype=bool)
    at, fields = starts + 4, {}
    while (kind := int(data[at[0]])) != 0:
        name_end = int(at[0]) + 1
        while data[name_end]:
            name_end += 1
        header = data[at[0] : name_end + 1]
        same &= equal_rows(_rows(data, at, len(header)), header)
        at = np.where(same, at + len(header), starts)
        fields[header[1:-1].tobytes().decode()] = (kind, at)
        size = _value_bytes(data, kind, at)
        if size is None:
            return None
        at = np.where(same, at + size, starts)
    same &= at == ends
    return fields, same


def _value_bytes(data: np.ndarray, kind: int, at: np.ndarray) -> int | np.ndarray | None:
    if kind in _FIXED_BYTES:
        return _FIXED_BYTES[kind]
    more = _LENGTH_AND_MORE.get(kind)
    return None if more is None else read_int32(data, at) + more


def _rows(data: np.ndarray, at: np.ndarray, length: int) -> np.ndarray:
    """(R, length) bytes from each offset; where they would pass the end, the last ones instead."""
    windows = np.lib.stride_tricks.as_strided(data, (len(data) - length + 1, length), (1, 1), writeable=False)
    return windows[np.minimum(at, len(data) - length)]


def read_rows(data: np.ndarray, at: np.ndarray, length: int) -> np.ndarray:
    """(R, length) uint8 from each offset."""
    return _rows(data, at, length)


def equal_rows(rows: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(R,) bool for (R, L) and (L,) bytes; quickest where all rows are equal, as they nearly always are."""
    equal = rows == expected
    return np.ones(len(rows), dtype=bool) if equal.all() else equal.all(axis=1)


def read_int32(data: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(R,) int64."""
    return _rows(data, at, 4).view("<i4")[:, 0].astype(np.int64)


def read_numbers(data: np.ndarray, values: Values) -> np.ndarray:
    """(R,) float64; NaN where there is no number."""
    numbers = np.full(len(values.at), np.nan)
    for kind, dtype in ((DOUBLE, "<f8"), (INT32, "<i4"), (INT64, "<i8")):
        rows = np.flatnonzero(values.kinds == kind)
        if rows.size:
            numbers[rows] = _rows(data, values.at[rows], np.dtype(dtype).itemsize).view(dtype)[:, 0]
    return numbers


def read_texts(data: np.ndarray, at: np.ndarray, skip: int = 0) -> pa.Array:
    """(R,) strings at offsets of texts, without their first `skip` bytes."""
    lengths = read_int32(data, at) - 1 - skip
    offsets = np.zeros(len(at) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    index = np.repeat(at + 4 + skip - offsets[:-1], lengths) + np.arange(offsets[-1])
    texts = pa.py_buffer(data[index].tobytes())
    return pa.StringArray.from_buffers(len(at), pa.py_buffer(offsets.astype(np.int32).tobytes()), texts)


def read_any(data: bytes, values: Values) -> list[Any]:
    """(R,) Python values of whatever kind; None where there is none."""
    answer: list[Any] = [None] * len(values.at)
    array = as_array(data)
    for kind in np.unique(values.kinds[values.kinds != MISSING]).tolist():
        rows = np.flatnonzero(values.kinds == kind)
        sizes = np.broadcast_to(_value_bytes(array, kind, values.at[rows]), len(rows)).tolist()  # type: ignore[arg-type]
        for row, at, size in zip(rows.tolist(), values.at[rows].tolist(), sizes, strict=True):
            document = _INT32.pack(size + 8) + bytes((kind,)) + b"v\0" + data[at : at + size] + b"\0"
            answer[row] = bson.decode(document)["v"]
    return answer
