"""The page of the leaderboard: one row per experiment, in the order of the given table.

Here: wording and marking. Not here: ranking (`steps.leaderboard`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agar_pipeline.reports import plots
from agar_pipeline.reports.metric_words import cell, words_of
from agar_pipeline.reports.number_formats import is_null
from agar_pipeline.reports.render import TEMPLATES_DIR, write_page
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    import pandas as pd

PLOTTED = ("map_50", "mae")
FIRST = ("experiment", "verdict")
HIDDEN = ("recipe",)
SORT_SCRIPT = TEMPLATES_DIR / "sort.js"


def write_leaderboard_page(path: Path, table: pd.DataFrame) -> None:
    """Write the page of a leaderboard: one row per experiment, and all columns of the table that have a value."""
    names = [str(name) for name in table.columns if name not in HIDDEN and table[name].notna().any()]
    names = sorted(names, key=lambda name: name not in FIRST)
    best = {name: _best(name, table[name]) for name in names}
    rows = [
        [
            cell(name, value)
            | {"is_text": _is_text(table[name]), "best": _is_best(value, best[name]), "sort": _sort_key(value)}
            for name, value in zip(names, row, strict=True)
        ]
        for row in table[names].itertuples(index=False, name=None)
    ]
    values = {
        "title": "Leaderboard",
        "headline": _headline(table),
        "subline": f"{plural(len(table), 'experiment')} compared.",
        "columns": [{"title": words_of(name).title, "is_text": _is_text(table[name])} for name in names],
        "rows": rows,
        "plots": _plots(table),
        "meanings": [{"title": words_of(n).title, "words": words_of(n).words} for n in names if words_of(n).words],
    }
    write_page(path, "leaderboard.html.j2", values, script=SORT_SCRIPT.read_text())


def _headline(table: pd.DataFrame) -> str:
    if not len(table):
        return ""
    name, first = str(table["experiment"].iloc[0]), table.iloc[0]
    shown = [
        f"{words_of(metric).title} {words_of(metric).write(first[metric])}"
        for metric in ("map", "map_50", "mae")
        if metric in table and not is_null(first[metric])
    ]
    return f"{name} has the highest mAP: {', '.join(shown)}." if shown else f"{name} could not be scored."


def _sort_key(value: Any) -> str:
    return "" if is_null(value) else str(value)


def _is_text(column: pd.Series[Any]) -> bool:
    return not all(is_null(value) or isinstance(value, (int, float, np.number)) for value in column.tolist())


def _best(metric: str, column: pd.Series[Any]) -> float | None:
    """Return the best value of a column; None if neither low nor high is better, or if all values are equal."""
    lower_is_better = words_of(metric).lower_is_better
    if lower_is_better is None or _is_text(column):
        return None
    values = [float(value) for value in column.tolist() if not is_null(value)]
    if len(set(values)) < 2:
        return None
    return min(values) if lower_is_better else max(values)


def _is_best(value: Any, best: float | None) -> bool:
    return best is not None and not is_null(value) and float(value) == best


def _plots(table: pd.DataFrame) -> list[dict[str, str]]:
    made = []
    for metric in PLOTTED:
        if metric not in table or len(table) < 2:
            continue
        values = dict(zip(table["experiment"].astype(str), table[metric].tolist(), strict=True))
        numbers = {name: None if is_null(value) else float(value) for name, value in values.items()}
        if any(value is not None for value in numbers.values()):
            words = words_of(metric)
            made.append({"uri": plots.bars(numbers, words.title), "title": words.title, "words": words.words})
    return made
