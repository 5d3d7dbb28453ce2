"""`agar train`"""

from __future__ import annotations

import click

from agar_pipeline.commands.experiment import build_from_cache, parse_experiment


@click.command("train", epilog="Example: agar train experiment=demo trainer.max_seconds=30")
@click.argument("words", nargs=-1, metavar="experiment=E [key=value…]")
@click.option("--cfg", type=click.Choice(["job"]), help="Print the composed config, and train nothing.")
def command(words: tuple[str, ...], cfg: str | None) -> None:
    """Train from the COCO cache alone, after a smoke run; neither FiftyOne nor Dagster is needed."""
    experiment, as_configured = parse_experiment(words)
    if cfg:
        from omegaconf import OmegaConf

        from agar_pipeline.config import to_plain

        click.echo(OmegaConf.to_yaml(OmegaConf.create(to_plain(experiment))), nl=False)
        return
    built = build_from_cache(experiment, "training_run", as_configured=as_configured)
    click.echo(f"{'cached: ' if built.cached else ''}{built.artifact.best_checkpoint}")
