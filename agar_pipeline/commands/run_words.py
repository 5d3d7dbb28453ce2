"""Says what `agar run` built: how good the models are, which pages to look at, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agar_pipeline.artifacts import Artifact
    from agar_pipeline.store import Key, Store

_FIRST = ("evaluation", "leaderboard")
"""The pages that are named first; the others follow in the order of the chain."""


def closing_lines(store: Store, built: Mapping[Key, Artifact]) -> list[str]:
    """Lines for the end of a run: a warning or the main figures of each evaluation, the pages, the next step."""
    from agar_pipeline.artifacts import Evaluation

    metrics = {key: of.metrics() for key, of in built.items() if isinstance(of, Evaluation)}
    order = sorted(built, key=lambda key: _FIRST.index(key.asset) if key.asset in _FIRST else len(_FIRST))
    pages = [page for key in order if (page := built[key].root / "report.html").is_file()]
    return [
        *(f"{key}: {_verdict(of)}" for key, of in metrics.items()),
        *(f"{'look at' if not place else '    and'} {page}" for place, page in enumerate(pages)),
        *(f"next: {step}" for step in _next_steps(store, metrics)),
    ]


def _figures(metrics: Mapping[str, Any]) -> str:
    """The main figures of an evaluation in one line, or why there are none."""
    from agar_pipeline.text.plurals import plural

    map_50, mae = metrics["map_50"], metrics["counting"]["mae"]
    found = f"not computed: {metrics['reasons'].get('map_50')}" if map_50 is None else f"{map_50:.3f}"
    counted = "" if mae is None else f", count of a plate off by {mae:.3g} on average"
    return f"map_50 {found}{counted} ({plural(metrics['num_images'], 'plate')})"


def _verdict(metrics: Mapping[str, Any]) -> str:
    warning = metrics.get("warning")
    return warning.splitlines()[0] if warning else _figures(metrics)


def _next_steps(store: Store, metrics: Mapping[Key, Mapping[str, Any]]) -> list[str]:
    """What the warnings advise, each advice once; without a warning, what can be done with the models."""
    from agar_pipeline.history.run_comparison import list_evaluations

    if not metrics:
        return ["agar plan"]
    warnings = [of["warning"] for of in metrics.values() if of.get("warning")]
    if warnings:
        return list(dict.fromkeys(line for warning in warnings for line in warning.splitlines()[1:]))
    if len(list_evaluations(store)) > 1:
        return ["agar compare"]
    return [f"agar predict --experiment {next(iter(metrics)).experiment} photos/ --out-dir counted"]
