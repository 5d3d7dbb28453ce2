"""Finds and reads values in raw BSON for many documents at once, without a Python object for each document.

Documents with the same keys of the same types in the same order are processed together, with one numpy step per key.
Here: the byte offsets of values, and reading numbers and texts at them. Not here: the meaning of the values
(`snapshot_files.source_columns`). Layout of BSON: https://bsonspec.org/spec.html
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
"""Kind of a value that a document does not have."""
_FIXED_BYTES = {DOUBLE: 8, 0x06: 0, OBJECT_ID: 12, 0x08: 1, 0x09: 8, NULL: 0, INT32: 4, 0x11: 8, INT64: 8, 0x13: 16}
_LENGTH_AND_MORE = {TEXT: 4, DOCUMENT: 0, ARRAY: 0, 0x05: 5, 0x0D: 4, 0x0E: 4}
"""Kinds that begin with their length as int32 → the number of bytes that this length does not include."""
_INT32 = struct.Struct("<i")


@dataclass(frozen=True)
class Values:
    """Kinds and offsets of one value in each of R documents."""

    kinds: np.ndarray
    """(R,) uint8 BSON kinds; MISSING if a document does not have the value."""
    at: np.ndarray
    """(R,) int64 offsets of the values, after the names of their keys."""


def as_array(data: bytes) -> np.ndarray:
    """View the bytes as (L,) uint8, without a copy."""
    return np.frombuffer(data, np.uint8)


def document_starts(data: bytes) -> np.ndarray:
    """Return the (R,) int64 offsets of consecutive documents.

    >>> document_starts(bson.encode({}) + bson.encode({"a": 1}) + bson.encode({}))
    array([ 0,  5, 17])
    """
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        at += _INT32.unpack_from(data, at)[0]
    return np.array(starts, dtype=np.int64)


def starts_in_array(data: bytes, array_at: int) -> list[int] | None:
    """Return the offsets of the documents in an array; None if the array holds a value of another kind."""
    starts: list[int] = []
    at, header, longer_from = array_at + 4, 3, 10  # header bytes: kind, index in decimal digits, zero
    read = _INT32.unpack_from
    while data[at] == DOCUMENT:
        at += header
        starts.append(at)
        at += read(data, at)[0]
        if len(starts) == longer_from:
            header, longer_from = header + 1, 10 * longer_from
    return starts if data[at] == 0 else None


def find_values(data: np.ndarray, starts: np.ndarray, path: list[str]) -> Values:
    """Find the value at a path of keys in each document.

    Raises:
        ValueError: A document holds a kind of value that FiftyOne never writes (a regular expression, a pointer).
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
"""Key → BSON kind, and (R,) offsets of the values."""


def layouts(data: np.ndarray, starts: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, Fields | None]]:
    """Group documents that have the same keys of the same kinds in the same order.

    Yields:
        The rows of a group and its fields. All rows that remain after `most` groups, or after a value of unknown
        length, are yielded together with None instead of fields.
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
    """Return the fields of the first document with their offsets in all R documents, and which have exactly these.

    The second array is (R,) bool; offsets of documents where it is False are meaningless. The result is None if the
    first document holds a value of unknown length.
    """
    ends = starts + read_int32(data, starts) - 1
    same = np.ones(len(starts), dtype=bool)
    at, fields = starts + 4, {}
    while (kind := int(data[at[0]])) != 0:
        name_end = int(at[0]) + 1
        while data[name_end]:
            name_end += 1
        header = data[at[0] : name_end + 1]
        same &= equal_rows(read_rows(data, at, len(header)), header)
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


def read_rows(data: np.ndarray, at: np.ndarray, length: int) -> np.ndarray:
    """Return (R, length) uint8 from each offset; an offset too near the end is replaced by the last possible one."""
    windows = np.lib.stride_tricks.as_strided(data, (len(data) - length + 1, length), (1, 1), writeable=False)
    return windows[np.minimum(at, len(data) - length)]


def equal_rows(rows: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Compare (R, L) bytes with (L,) bytes and return (R,) bool; fastest if all rows are equal, the usual case."""
    equal = rows == expected
    return np.ones(len(rows), dtype=bool) if equal.all() else equal.all(axis=1)


def read_int32(data: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Read an int32 at each offset, as (R,) int64."""
    return read_rows(data, at, 4).view("<i4")[:, 0].astype(np.int64)


def read_numbers(data: np.ndarray, values: Values) -> np.ndarray:
    """Read numbers as (R,) float64; NaN for a value that is missing or not a number."""
    numbers = np.full(len(values.at), np.nan)
    for kind, dtype in ((DOUBLE, "<f8"), (INT32, "<i4"), (INT64, "<i8")):
        rows = np.flatnonzero(values.kinds == kind)
        if rows.size:
            numbers[rows] = read_rows(data, values.at[rows], np.dtype(dtype).itemsize).view(dtype)[:, 0]
    return numbers


def read_texts(data: np.ndarray, at: np.ndarray, skip: int = 0) -> pa.Array:
    """Read (R,) strings at the offsets of texts, without the first `skip` bytes of each."""
    lengths = read_int32(data, at) - 1 - skip
    offsets = np.zeros(len(at) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    index = np.repeat(at + 4 + skip - offsets[:-1], lengths) + np.arange(offsets[-1])
    texts = pa.py_buffer(data[index].tobytes())
    return pa.StringArray.from_buffers(len(at), pa.py_buffer(offsets.astype(np.int32).tobytes()), texts)


def read_any(data: bytes, values: Values) -> list[Any]:
    """Decode (R,) values of any kind to Python objects; None for a missing value."""
    answer: list[Any] = [None] * len(values.at)
    array = as_array(data)
    for kind in np.unique(values.kinds[values.kinds != MISSING]).tolist():
        rows = np.flatnonzero(values.kinds == kind)
        sizes = np.broadcast_to(_value_bytes(array, kind, values.at[rows]), len(rows)).tolist()  # type: ignore[arg-type]
        for row, at, size in zip(rows.tolist(), values.at[rows].tolist(), sizes, strict=True):
            document = _INT32.pack(size + 8) + bytes((kind,)) + b"v\0" + data[at : at + size] + b"\0"
            answer[row] = bson.decode(document)["v"]
    return answer
