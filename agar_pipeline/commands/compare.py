"""`agar compare`: lists evaluated runs, or compares two of them."""

from __future__ import annotations

import json
from typing import Any

import click

from agar_pipeline.commands.terminal import echo


@click.command("compare", epilog="Example: agar compare demo baseline")
@click.argument("runs", nargs=-1, metavar="[A B]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(runs: tuple[str, ...], as_json: bool) -> None:
    """Show what differs between two evaluated runs in config, data and figures; without arguments, list all runs, the
    newest first. `latest` marks the run of an experiment that was made or used last.

    A and B are experiments (the run by today's config), fingerprints of evaluations or trainings (or their first
    letters), or folders.
    """
    from agar_pipeline.commands.experiment import current_evaluation
    from agar_pipeline.config import agar_home
    from agar_pipeline.history.run_comparison import compare_runs, list_evaluations
    from agar_pipeline.store import Store

    store = Store(agar_home())
    if len(runs) not in (0, 2):
        raise click.UsageError("give two runs to compare them, or none to list all runs")
    answer: Any = compare_runs(store, runs[0], runs[1], current_evaluation(store)) if runs else list_evaluations(store)
    if as_json:
        echo(json.dumps(answer, indent=1))
    elif runs:
        _print_comparison(answer)
    else:
        _print_list(answer)


def _print_list(evaluations: list[dict[str, Any]]) -> None:
    for row in evaluations:
        latest = "latest" if row["latest"] else ""
        figures = f"map {_figure(row['map'])}  map_50 {_figure(row['map_50'])}  count error {_figure(row['mae'])}"
        echo(
            f"{row['experiment']:<20} {row['evaluation'][:12]}  {row['created_at'][:16]}  {figures}  {latest}".rstrip()
        )
        if row["cross_validated"]:
            echo(f"{'':<20} {'cross-validated':<30}  {_cross_validated(row['cross_validated'])}")
    echo(_next_step([row["evaluation"][:8] for row in evaluations]))


def _cross_validated(figures: dict[str, Any]) -> str:
    words = []
    for name, word in {"map": "map", "map_50": "map_50", "count_mae": "count error"}.items():
        of = figures[name]
        words.append(f"{word} {_figure(of['value'])} ({_figure(of['low'])} to {_figure(of['high'])})")
    return "  ".join(words)


def _next_step(evaluations: list[str]) -> str:
    if not evaluations:
        return "no run was evaluated yet\nnext: agar run"
    if len(evaluations) == 1:
        return f"there is no second run to compare it with\nnext: agar view --run {evaluations[0]}"
    return f"next: agar compare {evaluations[1]} {evaluations[0]}"


def _print_comparison(answer: dict[str, Any]) -> None:
    a, b = (f"{side['experiment']} {side['evaluation'][:8]}" for side in (answer["a"], answer["b"]))
    echo(f"{'':<20} {a:>24} {b:>24}")
    for name, (one, two) in answer["metrics"].items():
        echo(f"{name:<20} {_figure(one):>24} {_figure(two):>24}")
    for what in ("config", "data"):
        echo(f"{what}:" + ("" if answer[what] else " the same"))
        echo("".join(f"  {line}\n" for line in answer[what]), nl=False)
    echo(_summary(answer["difference"]))
    echo(f"next: agar view --run {answer['b']['evaluation'][:8]}")


def _summary(difference: dict[str, Any] | None) -> str:
    if difference is None:
        return "the two runs were evaluated on different plates, so their figures cannot be compared"
    of = difference["map"]
    within = of["low"] <= 0 <= of["high"]
    interval = f"map differs by {of['delta']:+.4f}, on other plates by {of['low']:+.4f} to {of['high']:+.4f}"
    return f"{interval}: {'within the noise of plates' if within else 'more than the noise of plates'}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
