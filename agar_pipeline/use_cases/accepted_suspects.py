"""Finds the suspects that a person accepted: by a tag on their label, in a saved view, or in a file.

Here: which suspects of a dataset. Not here: applying their suggestions (`accepting`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agar_pipeline.errors import AnnotationError, ConfigError, DatasetError
from agar_pipeline.fiftyone_io.writing.accepted_labels import Suggestion, suggestions_of
from agar_pipeline.fiftyone_io.writing.suspect_labels import Detection
from agar_pipeline.text.plurals import plural

_SUFFIXES = (".csv", ".parquet", ".json")
_ID = "suspect_id"


@dataclass(frozen=True)
class Choice:
    """Which suspects a person accepted; exactly one of the three is given."""

    tag: str | None = None
    view: str | None = None
    """Name of a saved view: the suspects that it shows."""
    listed: tuple[str, ...] | None = None
    """Suspect ids of a file."""

    @staticmethod
    def read(word: str) -> Choice:
        """Interpret `tag:NAME`, `saved:NAME`, a file with the suffix .csv, .parquet or .json, or the name of a view.

        Raises:
            AnnotationError: the file is missing, cannot be read, or lists no suspect.
            ConfigError: the word names nothing.
        """
        kind, _, name = word.partition(":")
        if not word or word in ("tag:", "saved:"):
            raise ConfigError(
                "names nothing", where="--accept", value=word, next_step="give tag:NAME, the name of a view, or a file"
            )
        if name and kind in ("tag", "saved"):
            return Choice(tag=name) if kind == "tag" else Choice(view=name)
        if Path(word).suffix.lower() in _SUFFIXES:
            return Choice(listed=read_listed(Path(word)))
        return Choice(view=word)

    @property
    def words(self) -> str:
        """What is chosen, as the rest of a sentence about a field of suspects."""
        if self.listed is not None:
            return "of that file"
        return f"in the saved view {self.view!r}" if self.view is not None else f"with the tag {self.tag!r}"

    def ids(self, shown: Mapping[str, Sequence[Detection]]) -> set[str]:
        """Return the suspect ids; `shown`: sample id → suspects that the view shows, or all without a view."""
        if self.listed is not None:
            return set(self.listed)
        labels = (one for labels in shown.values() for one in labels)
        is_chosen = (one for one in labels if self.tag is None or self.tag in (one.get("tags") or []))
        return {str(one.get(_ID)) for one in is_chosen}


def choose(
    choice: Choice, shown: Mapping[str, Sequence[Detection]], suspects: Mapping[str, Sequence[Detection]], where: str
) -> dict[str, list[Suggestion]]:
    """Return sample id → the suggestions that are accepted on it.

    Args:
        shown: Sample id → labels of suspects that the chosen view shows; all if none is chosen.
        suspects: Sample id → all labels of its suspects.
        where: Name of the field and the dataset.

    Raises:
        DatasetError: none is chosen, or the file lists suspects that the dataset does not hold.
    """
    ids = choice.ids(shown)
    suggestions = {sample_id: list(suggestions_of(labels).values()) for sample_id, labels in suspects.items()}
    found = {
        sample_id: chosen
        for sample_id, of in suggestions.items()
        if (chosen := [one for one in of if one.suspect_id in ids])
    }
    unknown = sorted(ids - {one.suspect_id for chosen in found.values() for one in chosen})
    if choice.listed is not None and unknown:
        raise DatasetError(
            f"does not hold {len(unknown)} of {plural(len(ids), 'suspect')} of that file, such as {unknown[0]}; "
            "nothing was applied",
            where=where,
            next_step="write the suspects of that review first: agar review --experiment E",
        )
    if not found:
        raise DatasetError(
            f"holds no suspect {choice.words}",
            where=where,
            next_step=f"tag the labels of suspects in FiftyOne's App, or list their {_ID} in a file",
        )
    return found


def read_listed(path: Path) -> tuple[str, ...]:
    """Read the suspect ids of a file: its column or key `suspect_id`; a JSON list may also hold the ids themselves.

    Raises:
        AnnotationError: the file is missing, cannot be read, or lists none.
    """
    try:
        ids = _ids_of(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"cannot be read as a list of suspects ({type(error).__name__}: {error})",
            where=path,
            next_step=f"give a CSV, Parquet or JSON file with {_ID}, as suspects.parquet has it",
        ) from error
    if not ids:
        raise AnnotationError("lists no suspect", where=path, next_step=f"list the {_ID} of those that you accept")
    return tuple(dict.fromkeys(ids))


def _ids_of(path: Path) -> list[str]:
    import pandas as pd

    if path.suffix.lower() == ".json":
        content: Any = json.loads(path.read_text())
        if isinstance(content, dict):  # columns, as pandas writes a table
            content = list(content[_ID].values()) if isinstance(content[_ID], dict) else content[_ID]
        if not isinstance(content, list):
            raise TypeError(f"{content!r} is not a list")
        return [str(row if isinstance(row, str) else row[_ID]) for row in content]
    table = pd.read_csv(path, dtype={_ID: str}) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    return [str(one) for one in table[_ID]]
