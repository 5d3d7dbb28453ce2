"""`agar smoke`: runs one training step, a checkpoint round trip and an evaluation."""

from __future__ import annotations

import json

import click

from agar_pipeline.commands.experiment import build_from_cache, parse_experiment
from agar_pipeline.commands.terminal import echo
from agar_pipeline.text.safe_text import as_command


@click.command("smoke", epilog="Example: agar smoke experiment=demo trainer.accelerator=cpu")
@click.argument("words", nargs=-1, metavar="experiment=E [key=value…]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings and the profile as JSON.")
def command(words: tuple[str, ...], as_json: bool) -> None:
    """Run one batch, one optimizer step, one checkpoint round trip and one evaluation."""
    experiment, as_configured = parse_experiment(words)
    built = build_from_cache(experiment, "smoke_run", as_configured=as_configured)
    profile = built.artifact.profile()
    if as_json:
        plain = {**built.artifact.smoke(), "profile": profile, "path": str(built.artifact.root), "cached": built.cached}
        echo(json.dumps(plain, indent=1))
        return
    for name, value in built.artifact.smoke().items():
        echo(f"{name}: {value}")
    for line in (*profile["chart"], profile["verdict"], profile["forecast"]["sentence"], *profile["warnings"]):
        echo(line)
    echo(f"{'cached: ' if built.cached else ''}{built.artifact.root}")
    echo(f"next: {as_command('agar', 'train', *words)}")
