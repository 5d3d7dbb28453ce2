"""`agar train`: trains an experiment, or several variants of it, from the COCO cache."""

from __future__ import annotations

import json
from typing import Any

import click

from agar_pipeline.commands.experiment import build_from_cache, parse_experiment
from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.errors import PipelineError, StoppedError
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command


@click.command("train", epilog="Example: agar train experiment=demo trainer.max_seconds=30")
@click.argument("words", nargs=-1, metavar="experiment=E [key=value…]")
@click.option("--cfg", type=click.Choice(["job"]), help="Print the composed config, and train nothing.")
@click.option("-m", "--multirun", is_flag=True, help="Train every combination of listed values: seed=0,1,2.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each training.")
def command(words: tuple[str, ...], cfg: str | None, multirun: bool, as_json: bool) -> None:
    """Train from the COCO cache alone, after a smoke run; neither FiftyOne nor Dagster is needed.

    A training that was interrupted continues from its last saved state.
    """
    if multirun:
        train_all(words, cfg, as_json)
        return
    train_one(words, cfg, as_json)


def train_one(words: tuple[str, ...] | list[str], cfg: str | None, as_json: bool) -> None:
    """Run one training, or print its config."""
    experiment, as_configured = parse_experiment(words)
    if cfg:
        from omegaconf import OmegaConf

        from agar_pipeline.config import to_plain

        echo(OmegaConf.to_yaml(OmegaConf.create(to_plain(experiment))), nl=False)
        return
    built = build_from_cache(experiment, "training_run", as_configured=as_configured)
    checkpoint, trained = built.artifact.best_checkpoint, built.artifact.experiment()
    if as_json:
        plain = {"experiment": experiment.name, "path": str(built.artifact.root), "checkpoint": str(checkpoint)}
        echo(json.dumps({**plain, "cached": built.cached, "best": trained["best"]}))
        return
    echo(f"{'cached: ' if built.cached else ''}{checkpoint}")
    for line in closing_lines(trained, as_command("agar", "predict", "--checkpoint", checkpoint)):
        say(line)


def closing_lines(trained: dict[str, Any], predict: str) -> list[str]:
    """Say how good the best model is on val, and what to do next.

    Args:
        trained: The content of `experiment.json`.
        predict: The command that counts with this model; suggested if the model is good enough.
    """
    from agar_pipeline.scoring.average_precision import NO_ANNOTATION
    from agar_pipeline.scoring.usefulness import explain_uselessness

    best = trained["best"]
    scores = {name: best["val"].get(name) for name in ("map_50", "map_50_95")}
    reason = best.get("reason", "the training recorded no reason")
    words = [f"{name} {value:.3f}" for name, value in scores.items() if value is not None]
    line = f"best on val, after epoch {best['epoch']}: {', '.join(words) or 'no score could be computed'}"
    if not words and reason == NO_ANNOTATION:
        why = "val has no annotated box, so it is unknown whether this model may be used"
        return [line, why, "next: annotate photos of the part val, or change the split, then `agar run`"]
    warning = explain_uselessness(scores["map_50"], 1, trained.get("lesson"), limit=None if words else reason)
    if warning is None:
        return [line, f"next: {predict} photos/ --out-dir counted"]
    finding, *advice = warning.splitlines()
    return [line, finding, *(f"next: {step}" for step in advice)]


def train_all(words: tuple[str, ...], cfg: str | None, as_json: bool) -> None:
    """Train every combination, each as an artifact of its own; if one fails, the others are trained all the same."""
    from agar_pipeline.config import spread

    runs, failed = spread(words), 0
    for number, run in enumerate(runs, start=1):
        say(f"# {number} of {len(runs)}: {' '.join(run)}")
        try:
            train_one(run, cfg, as_json)
        except StoppedError:
            raise
        except PipelineError as error:
            failed += 1
            say(f"error: {error}")
    if failed:
        raise PipelineError(
            f"{failed} of {plural(len(runs), 'training')} failed, with the errors above",
            next_step="correct what they name, and run the same command again; finished trainings are not repeated",
        )
