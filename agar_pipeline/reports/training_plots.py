"""Plots the loss and the scores on val of a training.

Here: drawing `metrics.csv`. Not here: what is logged (`training_loop`).
"""

from __future__ import annotations

import csv
from pathlib import Path

from agar_pipeline.reports.plots import PALETTE, drawing, label_axes, new_figure, to_svg_uri

SCORES = {"val_map_50": "mAP@50 on val", "val_map_50_95": "mAP on val"}


def draw_curves(metrics_csv: Path) -> str:
    """Plot the loss and the scores on val over the steps of a training, as an SVG data URI."""
    with metrics_csv.open(newline="") as log:
        rows = list(csv.DictReader(log))
    with drawing():
        figure, axes = new_figure(7.0, 3.1)
        steps, losses = _column(rows, "train_loss")
        axes.plot(steps, losses, color=PALETTE[1], linewidth=1, label="training loss", marker="." * (len(steps) < 2))
        axes.set_ylim(bottom=0)
        label_axes(axes, "step", "training loss")
        scores = axes.twinx()
        for place, (name, title) in enumerate(SCORES.items()):
            steps, values = _column(rows, name)
            scores.plot(steps, values, color=PALETTE[2 * place], linewidth=1.4, marker="o", markersize=3, label=title)
        scores.set_ylim(0, 1)
        scores.grid(visible=False)
        label_axes(scores, "", "score")
        figure.legend(loc="outside upper center", ncols=3)
        return to_svg_uri(figure)


def _column(rows: list[dict[str, str]], name: str) -> tuple[list[int], list[float]]:
    having = [row for row in rows if row.get(name)]
    return [int(row["step"]) for row in having], [float(row[name]) for row in having]
