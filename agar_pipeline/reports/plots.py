"""Draws small plots as SVG data URIs; equal numbers give equal bytes.

Here: drawing arrays. Not here: explaining the numbers, which pages such as `split_page` do.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0f766e", "#c2410c", "#4338ca", "#a16207", "#be185d", "#475569")
INK, FAINT = "#334155", "#cbd5e1"
MANY_POINTS = 2_000
MANY_BARS = 24
GRID = 40
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "agar_pipeline",
    "svg.fonttype": "none",
    "text.parse_math": False,  # else a class called "$x" would be parsed as a formula
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#eef2f6",
    "legend.frameon": False,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Set the style of the pages for plots drawn in the `with` block."""
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser's font has the glyph
        yield


def new_figure(width_in: float = 5.0, height_in: float = 3.1) -> tuple[Figure, Axes]:
    """Return an empty figure (size in inches) and its axes, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def to_svg_uri(figure: Figure) -> str:
    """Return the figure as an SVG data URI without date and creator, so that equal figures give equal bytes."""
    buffer = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing, dpi=144)
    svg = buffer.getvalue().replace(b"'DejaVu Sans'", b"system-ui, 'DejaVu Sans'")
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def histogram(values: np.ndarray, x_label: str, y_label: str, log_x: bool = False) -> str:
    """Plot a histogram; values that are not finite (or, on a log axis, not positive) are left out."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if log_x:
        values = values[values > 0]
    with drawing():
        figure, axes = new_figure()
        if len(values):
            edges = _bin_edges(values, log_x)
            counts, _ = np.histogram(values, bins=edges)
            axes.stairs(counts, edges, fill=True, color=PALETTE[0])
            middle = float(np.median(values))
            axes.axvline(middle, color=PALETTE[1], linewidth=1.2, linestyle="--", label=f"median {middle:.3g}")
            axes.legend(loc="upper right")
        if log_x and len(values):
            from matplotlib.ticker import LogLocator

            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(lambda value, _: "")
        label_axes(axes, x_label, y_label)
        axes.grid(visible=False, axis="x")
        return to_svg_uri(figure)


def _bin_edges(values: np.ndarray, log_x: bool) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.array([low * 0.9, low * 1.1]) if log_x else np.array([low - 0.5, low + 0.5])
    if log_x:
        return np.geomspace(low, high, 33)
    whole = bool((values == np.round(values)).all())
    if whole:
        step = max(1, int(np.ceil((high - low + 1) / 40)))
        return np.arange(low - 0.5, high + step + 0.5, step)
    return np.linspace(low, high, 33)


def stacked_bars(table: Mapping[str, Mapping[str, float]], x_label: str) -> str:
    """Plot horizontal bars, one per outer key, stacked over the inner keys; at most the `MANY_BARS` longest ones."""
    names = sorted(table, key=lambda name: -sum(table[name].values()))[:MANY_BARS]
    series = list(dict.fromkeys(key for name in table for key in table[name]))
    with drawing():
        figure, axes = new_figure(height_in=1.1 + 0.27 * max(3, len(names)))
        left = np.zeros(len(names))
        for place, key in enumerate(series):
            widths = np.array([table[name].get(key, 0) for name in names], dtype=np.float64)
            axes.barh(range(len(names)), widths, left=left, color=PALETTE[place % len(PALETTE)], label=key, height=0.7)
            left += widths
        axes.set_yticks(range(len(names)), [shorten(name) for name in names])
        axes.invert_yaxis()
        if len(series) > 1:
            axes.legend(loc="lower right")
        label_axes(axes, x_label, "")
        axes.grid(visible=False, axis="y")
        return to_svg_uri(figure)


def bars(values: Mapping[str, float | None], x_label: str) -> str:
    """Plot horizontal bars in the given order, each with its value; a null leaves its place empty."""
    with drawing():
        figure, axes = new_figure(height_in=1.0 + 0.3 * max(2, len(values)))
        widths = [float("nan") if value is None else value for value in values.values()]
        drawn = axes.barh(range(len(values)), widths, color=PALETTE[0], height=0.65)
        axes.bar_label(drawn, labels=["" if np.isnan(width) else f"{width:.3g}" for width in widths], padding=3)
        axes.set_yticks(range(len(values)), [shorten(name) for name in values])
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.margins(x=0.12)
        label_axes(axes, x_label, "")
        axes.grid(visible=False, axis="y")
        return to_svg_uri(figure)


def columns(values: Mapping[str, float | None], x_label: str, y_label: str) -> str:
    """Plot vertical bars in the given order, each with its value above it; a null leaves its place empty."""
    with drawing():
        figure, axes = new_figure()
        names = list(values)
        heights = [float("nan") if values[name] is None else float(values[name] or 0) for name in names]
        bars = axes.bar(range(len(names)), heights, color=PALETTE[0], width=0.65)
        axes.bar_label(bars, labels=["" if np.isnan(h) else f"{h:.3g}" for h in heights], padding=2)
        axes.set_xticks(range(len(names)), [shorten(name, 14) for name in names])
        axes.margins(y=0.12)
        label_axes(axes, x_label, y_label)
        axes.grid(visible=False, axis="x")
        return to_svg_uri(figure)


def count_centres(centres_rel_xy: np.ndarray) -> np.ndarray:
    """Count the centres in each field of a (40, 40) grid, rows from top to bottom.

    Args:
        centres_rel_xy: (N, 2) centres as shares of the image; those outside [0, 1] are left out.

    >>> counts = count_centres(np.array([[0.0, 0.5], [0.0, 0.5], [2.0, 0.5]]))
    >>> counts.shape, counts[20, 0], counts.sum()
    ((40, 40), np.float64(2.0), np.float64(2.0))
    """
    x, y = np.asarray(centres_rel_xy, dtype=np.float64).reshape(-1, 2).T
    return np.histogram2d(y, x, bins=GRID, range=[[0, 1], [0, 1]])[0]


def heat_map(counts: np.ndarray) -> str:
    """Plot where boxes lie in the images; `counts` is the sum of `count_centres` over all images."""
    with drawing():
        figure, axes = new_figure(4.6, 3.9)
        image = axes.imshow(counts, extent=(0, 100, 100, 0), cmap="YlGnBu", interpolation="nearest", vmin=0)
        figure.colorbar(image, ax=axes, label="boxes", shrink=0.85)
        label_axes(axes, "from left, % of the width", "from top, % of the height")
        axes.grid(visible=False)
        return to_svg_uri(figure)


def label_axes(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.tick_params(length=0)


def shorten(name: str, longest: int = 28) -> str:
    """Return the name on one line, cut in the middle if it is long.

    >>> shorten("Staphylococcus aureus", 9)
    'Stap…reus'
    """
    name = "".join(letter for letter in " ".join(name.split()) if letter.isprintable())
    keep = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:keep]}…{name[-keep:]}"
