"""Plots of an evaluation: counts, precision over recall, the score threshold, and how far scores are probabilities.

Here: drawing arrays. Not here: explaining the numbers (`evaluation_page`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agar_pipeline.reports.plots import INK, MANY_POINTS, PALETTE, drawing, label_axes, new_figure, shorten, to_svg_uri


def scatter_counts(true_counts: np.ndarray, predicted_counts: np.ndarray) -> str:
    """Plot predicted against true counts, one point per image, with the diagonal and the ±10 % band."""
    with drawing():
        figure, axes = new_figure(4.6, 4.4)
        highest = float(max([1, *np.asarray(true_counts).tolist(), *np.asarray(predicted_counts).tolist()])) * 1.05
        line = np.array([0.0, highest])
        axes.fill_between(line, line * 0.9, line * 1.1, color="#ccfbf1", linewidth=0, label="within 10 %")
        axes.plot(line, line, color=PALETTE[0], linewidth=1, label="right count")
        rasterized = len(true_counts) > MANY_POINTS
        axes.scatter(
            true_counts, predicted_counts, s=14, color=PALETTE[1], alpha=0.45, linewidth=0, rasterized=rasterized
        )
        axes.set_xlim(-0.02 * highest, highest)
        axes.set_ylim(-0.02 * highest, highest)
        axes.set_aspect("equal")
        axes.legend(loc="upper left")
        label_axes(axes, "annotated colonies", "predicted colonies")
        return to_svg_uri(figure)


def bland_altman(true_counts: np.ndarray, predicted_counts: np.ndarray) -> str:
    """Plot the difference of two counts against their mean, with the bias and the limits of agreement.

    The limits are bias ± 1.96 SD. Bland & Altman, "Statistical methods for assessing agreement between two methods of
    clinical measurement", Lancet 1986.
    """
    mean = (predicted_counts + true_counts) / 2
    difference = predicted_counts - true_counts
    with drawing():
        figure, axes = new_figure(4.6, 4.4)
        axes.scatter(
            mean, difference, s=14, color=PALETTE[1], alpha=0.45, linewidth=0, rasterized=len(mean) > MANY_POINTS
        )
        if len(mean):
            bias, spread = float(difference.mean()), float(difference.std(ddof=1)) if len(mean) > 1 else 0.0
            axes.axhline(bias, color=PALETTE[0], linewidth=1.2, label=f"bias {bias:+.3g}")
            for limit in (bias - 1.96 * spread, bias + 1.96 * spread):
                label = f"95 % of plates within ±{1.96 * spread:.3g}" if limit < bias or not spread else None
                axes.axhline(limit, color=PALETTE[2], linewidth=1, linestyle="--", label=label)
            axes.margins(y=0.25)
            axes.legend(loc="upper left")
        axes.axhline(0, color=INK, linewidth=0.6)
        label_axes(axes, "mean of both counts", "predicted minus annotated")
        return to_svg_uri(figure)


def precision_recall(curves: Mapping[str, list[float] | None]) -> str:
    """Plot precision over recall, one line per class; a class without a curve is left out.

    Args:
        curves: Class name → 101 precisions at recalls of 0, 0.01 … 1.
    """
    drawn = {name: curve for name, curve in curves.items() if curve}
    with drawing():
        figure, axes = new_figure(4.6, 4.6 + 0.2 * -(-len(drawn) // 3))
        for place, (name, curve) in enumerate(drawn.items()):
            style = "-" if place < len(PALETTE) else "--"
            colour = PALETTE[place % len(PALETTE)]
            axes.plot(np.linspace(0, 1, len(curve)), curve, style, color=colour, linewidth=1.5, label=shorten(name, 20))
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.03)
        axes.set_aspect("equal")
        if 0 < len(drawn) <= 2 * len(PALETTE):
            figure.legend(loc="outside lower center", ncols=3)  # inside, it could cover a curve
        label_axes(axes, "recall: share of colonies found", "precision: share of boxes that are right")
        return to_svg_uri(figure)


def threshold_curve(candidates: np.ndarray, mae: np.ndarray, f1: np.ndarray, chosen: float) -> str:
    """Plot the count error (left axis) and F1 (right axis) over the score threshold; the chosen one is marked.

    At low thresholds, errors of thousands are cut off: the axis ends at twice the error of counting next to nothing.
    """
    with drawing():
        figure, axes = new_figure(4.6, 3.6)
        errors = axes.plot(candidates, mae, color=PALETTE[1], linewidth=1.5, label="mean count error (left)")
        axes.set_ylim(0, max(min(float(np.max(mae)), 2 * float(mae[-1])), 2 * float(np.min(mae)), 1e-9))
        beside = axes.twinx()
        scores = beside.plot(candidates, f1, color=PALETTE[0], linewidth=1.5, label="F1 (right)")
        beside.set_ylim(0, 1.03)
        beside.grid(visible=False)
        mark = axes.axvline(chosen, color=INK, linewidth=1, linestyle="--", label=f"chosen: {chosen:.3g}")
        figure.legend(handles=[*errors, *scores, mark], loc="outside lower center", ncols=3)
        label_axes(axes, "score threshold", "colonies per plate")
        return to_svg_uri(figure)


def reliability(bins: Mapping[str, Mapping[str, Any] | None], least: int) -> str:
    """Plot the share of right detections over their mean score, one line per class, with the diagonal.

    Args:
        bins: Class name → `scoring.reliability` of the class; None: left out.
        least: Bins with fewer detections are left out.
    """
    lines = {name: _points(of, least) for name, of in bins.items() if of}
    drawn = {name: points for name, points in lines.items() if points}
    with drawing():
        figure, axes = new_figure(4.6, 4.6 + 0.2 * -(-len(drawn) // 3))
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8)
        for place, (name, points) in enumerate(drawn.items()):
            style = "-" if place < len(PALETTE) else "--"
            colour = PALETTE[place % len(PALETTE)]
            axes.plot(
                *zip(*points, strict=True), style, color=colour, marker="o", markersize=3, label=shorten(name, 20)
            )
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.03)
        axes.set_aspect("equal")
        if 0 < len(drawn) <= 2 * len(PALETTE):
            figure.legend(loc="outside lower center", ncols=3)
        label_axes(axes, "mean score of the boxes", "share of boxes that are right")
        return to_svg_uri(figure)


def _points(of: Mapping[str, Any], least: int) -> list[tuple[float, float]]:
    rows = zip(of["score"], of["precision"], of["count"], strict=True)
    return [(score, precision) for score, precision, count in rows if count >= max(least, 1)]
