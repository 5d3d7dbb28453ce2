"""`agar train`"""

from __future__ import annotations

import click

from agar_pipeline.commands.experiment import build_from_cache, parse_experiment
from agar_pipeline.commands.terminal import say
from agar_pipeline.errors import PipelineError, StoppedError


@click.command("train", epilog="Example: agar train experiment=demo trainer.max_seconds=30")
@click.argument("words", nargs=-1, metavar="experiment=E [key=value…]")
@click.option("--cfg", type=click.Choice(["job"]), help="Print the composed config, and train nothing.")
@click.option("-m", "--multirun", is_flag=True, help="Train every combination of listed values: seed=0,1,2.")
def command(words: tuple[str, ...], cfg: str | None, multirun: bool) -> None:
    """Train from the COCO cache alone, after a smoke run; neither FiftyOne nor Dagster is needed.

    A training that was interrupted goes on where it was.
    """
    if multirun:
        train_all(words, cfg)
        return
    train_one(words, cfg)


def train_one(words: tuple[str, ...] | list[str], cfg: str | None) -> None:
    """One training, or its config."""
    experiment, as_configured = parse_experiment(words)
    if cfg:
        from omegaconf import OmegaConf

        from agar_pipeline.config import to_plain

        click.echo(OmegaConf.to_yaml(OmegaConf.create(to_plain(experiment))), nl=False)
        return
    built = build_from_cache(experiment, "training_run", as_configured=as_configured)
    click.echo(f"{'cached: ' if built.cached else ''}{built.artifact.best_checkpoint}")
    say(f"next: agar predict --checkpoint {built.artifact.best_checkpoint} photos/ --out-dir counted")


def train_all(words: tuple[str, ...], cfg: str | None) -> None:
    """Each combination is an artifact of its own; one that fails does not keep the others from being trained."""
    from agar_pipeline.config import spread

    runs, failed = spread(words), 0
    for number, run in enumerate(runs, start=1):
        say(f"# {number} of {len(runs)}: {' '.join(run)}")
        try:
            train_one(run, cfg)
        except StoppedError:
            raise
        except PipelineError as error:
            failed += 1
            say(f"error: {error}")
    if failed:
        raise PipelineError(f"{failed} of {len(runs)} trainings failed")
