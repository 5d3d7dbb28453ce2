"""Reads the sheet of a dilution series: a CSV file that says which sample, dilution and volume is on which photo.

Columns: `photo`, `sample`, `dilution`, `volume_ml` (or `volume`, with cells like `0.1 ml`), and perhaps `replicate`;
others are passed over. Accepted is what spreadsheets export: UTF-8 or UTF-16, with commas, semicolons or tabs between
the cells, with decimal commas or points.

Here: from the file to checked rows. Not here: single cells (`sheet_cells`), counts (`samples`).
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.counting.sheet_cells import READERS, CellError
from agar_pipeline.errors import SheetError
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.text_files import TextFileError, read_text

_DELIMITERS = ";\t,"
_NEEDED = ("photo", "sample", "dilution")
_VOLUMES = ("volume_ml", "volume")
_EXAMPLE = "photo,sample,dilution,volume_ml"
_SHOWN = 3


@dataclass(frozen=True)
class SheetRow:
    """One plate."""

    photo: Path
    sample: str
    dilution: float
    """Share of the sample in the suspension, in (0, 1]."""
    volume_ml: float
    replicate: str
    line: int


@dataclass(frozen=True)
class Sheet:
    """All plates, in the order of the file."""

    path: Path
    rows: tuple[SheetRow, ...]
    notes: tuple[str, ...]
    """Columns that were passed over, and names of samples that differ in their spelling alone."""

    @property
    def photos(self) -> list[Path]:
        return [row.photo for row in self.rows]


def read_sheet(path: Path, folders: Sequence[Path] = ()) -> Sheet:
    """Read a sheet.

    Args:
        folders: Where photos are looked for besides the sheet's own folder.

    Raises:
        SheetError: a column is missing, a cell has no clear value, or a photo is listed twice or does not exist.
    """
    lines, columns = _read_cells(path)
    rows = [_row(path, line, cells) for line, cells in lines]
    if not rows:
        raise SheetError("has no plate below its header", where=path, next_step="add one line for each photo")
    found = [_find(path, row.photo, folders, row.line) for row in rows]
    missing = [f"{row.photo} (line {row.line})" for row, photo in zip(rows, found, strict=True) if photo is None]
    if missing:
        raise SheetError(
            f"lists {plural(len(missing), 'photo that does', 'photos that do')} not exist, of {len(rows)}: "
            f"{name_some(missing, _SHOWN)}",
            where=path,
            next_step="write them relative to the folder of the sheet, or give the folder of the photos as well",
        )
    rows = [SheetRow(**{**vars(row), "photo": photo}) for row, photo in zip(rows, found, strict=True)]
    _require_once(path, rows)
    passed_over = sorted(columns - {*_NEEDED, *_VOLUMES, "replicate"})
    notes = [f"{path.name}: columns that are passed over: {', '.join(passed_over)}"] if passed_over else []
    return Sheet(path, tuple(rows), (*notes, *_similar_names(path, rows)))


def _read_cells(path: Path) -> tuple[list[tuple[int, dict[str, str]]], set[str]]:
    """Return line number and cells by column of each row that is not empty, and the names of the columns."""
    try:
        text = read_text(path)
    except OSError as error:
        raise SheetError(
            f"cannot be read ({error.strerror})", where=path, next_step="give the CSV file of the plates"
        ) from None
    except TextFileError as error:
        raise SheetError(**error.in_file(path, " (in a spreadsheet: export as CSV UTF-8)")) from None
    try:
        table = list(_numbered(text, max(_DELIMITERS, key=text.strip().partition("\n")[0].count)))
    except csv.Error as error:
        raise SheetError(f"is no CSV file ({error})", where=path, next_step="export it again as CSV UTF-8") from None
    if not table:
        raise SheetError("is empty", where=path, next_step=f"give a CSV file that begins with {_EXAMPLE}")
    header = [_column(cell) for cell in table[0][1]]
    _require_columns(path, header)
    for line, cells in table[1:]:
        if len(cells) != len(header):
            raise SheetError(
                f"has {plural(len(cells), 'cell')}, and the header has {len(header)}",
                where=f"{path}, line {line}",
                next_step="put quotes around cells with a comma, or export with semicolons",
            )
    return [(line, dict(zip(header, cells, strict=True))) for line, cells in table[1:]], {*header} - {""}


def _numbered(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield reader.line_num, stripped


def _column(cell: str) -> str:
    """The name of a column, however it is written: `Volume (ml)` is `volume_ml`."""
    return "_".join(cell.lower().replace("(", " ").replace(")", " ").replace("_", " ").replace("-", " ").split())


def _require_columns(path: Path, header: Sequence[str]) -> None:
    missing = [name for name in _NEEDED if name not in header]
    volumes = [name for name in _VOLUMES if name in header]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if missing or not volumes:
        raise SheetError(
            f"has no column {', '.join([*missing, *([] if volumes else ['volume_ml'])])}; "
            f"its header has {', '.join(filter(None, header)) or 'no names'}",
            where=path,
            next_step=f"begin it with a line such as {_EXAMPLE}",
        )
    if twice or len(volumes) > 1:
        raise SheetError(
            f"has two columns for one thing: {', '.join(twice or volumes)}", where=path, next_step="keep one of them"
        )


def _row(path: Path, line: int, cells: dict[str, str]) -> SheetRow:
    for name in ("photo", "sample"):
        if not cells[name]:
            raise SheetError(
                "is empty", where=f"{path}, line {line}, column {name}", next_step="fill it in, or remove the line"
            )
    numbers = {}
    for name, read in READERS.items():
        if name in cells:
            try:
                numbers[name] = read(cells[name])
            except CellError as error:
                raise SheetError(
                    error.what,
                    where=f"{path}, line {line}, column {name}",
                    value=cells[name],
                    next_step=error.next_step,
                ) from None
    volume_ml = numbers[next(name for name in _VOLUMES if name in numbers)]
    photo = Path(cells["photo"].replace("\\", "/"))
    return SheetRow(photo, cells["sample"], numbers["dilution"], volume_ml, cells.get("replicate", ""), line)


def _find(path: Path, listed: Path, folders: Sequence[Path], line: int) -> Path | None:
    places = [folder / listed for folder in (path.parent, *folders)]
    there = list({os.path.realpath(place): place for place in places if place.is_file()}.values())
    if len(there) > 1:
        raise SheetError(
            f"is {there[0]} and {there[1]}",
            where=f"{path}, line {line}, column photo",
            value=listed,
            next_step="write enough of its path to tell which one is meant",
        )
    return there[0] if there else None


def _require_once(path: Path, rows: Sequence[SheetRow]) -> None:
    seen: dict[str, SheetRow] = {}
    for row in rows:
        first = seen.setdefault(os.path.realpath(row.photo), row)
        if first is not row:
            raise SheetError(
                f"is listed in line {first.line} already",
                where=f"{path}, line {row.line}, column photo",
                value=row.photo.name,
                next_step="remove one of the lines, or correct the name",
            )


def _similar_names(path: Path, rows: Sequence[SheetRow]) -> Iterator[str]:
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(row.sample for row in rows):
        spellings.setdefault("".join(filter(str.isalnum, name.casefold())), []).append(name)
    for names in spellings.values():
        if len(names) > 1:
            yield f"{path.name}: {' and '.join(map(repr, names))} are taken for different samples"
