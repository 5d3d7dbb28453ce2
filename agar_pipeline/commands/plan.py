"""`agar plan`: prints which assets would be built again, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from agar_pipeline.commands.terminal import echo

if TYPE_CHECKING:
    from agar_pipeline.chain.plan import PlannedAsset


@click.command("plan", epilog="Example: agar plan --json")
@click.argument("assets", nargs=-1)
@click.option("--experiment", help="Only the chain of this experiment.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(assets: tuple[str, ...], experiment: str | None, as_json: bool) -> None:
    """Show what would run again, why, and how long it took last time. Exit 0: nothing would run, 10: something would.

    ASSETS limits the plan to these assets, as in `agar run`. A label_review is planned only if it is named.

    A split or a bbox report is called refused if it is current but forbids the steps after it;
    it is listed with every asset that depends on it.

    Exit 1: the dataset cannot be read; the lines then describe its last known state.
    """
    from agar_pipeline.chain.nodes import load_nodes, without_on_demand
    from agar_pipeline.commands.plan_words import plan_lines, plan_now, shared_trouble
    from agar_pipeline.commands.selection import made_from, select_keys
    from agar_pipeline.config import agar_home
    from agar_pipeline.store import Store

    nodes = load_nodes()
    chosen = select_keys(nodes, assets, experiment)
    store = Store(agar_home())
    plan, trouble = plan_now(store, without_on_demand(nodes, chosen))
    before = {key for name in chosen for key in made_from(nodes, name)}
    plan = [planned for planned in plan if planned.key in chosen or (planned.refusal and planned.key in before)]
    if as_json:
        plain = {"assets": [planned.to_plain() for planned in plan], "not_looked_at": str(trouble) if trouble else None}
        echo(json.dumps(plain, indent=1))
    else:
        echo("\n".join(plan_lines(plan)))
    if note := shared_trouble(store):
        echo(note, err=True)
    if trouble:
        echo(f"error: the dataset could not be read, so it may have changed: {trouble.in_one_line}", err=True)
        raise click.exceptions.Exit(1)
    if any(planned.state != "fresh" for planned in plan):
        if not as_json:
            echo(f"next: {_next_step(plan, assets)}")
        raise click.exceptions.Exit(10)


def _next_step(plan: Sequence[PlannedAsset], assets: Sequence[str]) -> str:
    """Return the next command; if a verdict forbids to continue, preceded by what to fix."""
    run = " ".join(["agar run", *assets])
    refusals = [planned.refusal for planned in plan if planned.refusal]
    return f"{refusals[0].next_step}; then run `{run}`" if refusals else run
