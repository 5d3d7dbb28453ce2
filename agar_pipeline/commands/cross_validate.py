"""`agar cross-validate`: scores a training on all photos of train, each by a model that was not trained on it."""

from __future__ import annotations

import json

import click

from agar_pipeline.commands.terminal import echo, say


@click.command("cross-validate", epilog="Example: agar cross-validate experiment=demo")
@click.argument("words", nargs=-1, metavar="experiment=E [key=value…]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(words: tuple[str, ...], as_json: bool) -> None:
    """Print mAP and count error over all photos of train, with 95 % intervals: for sets with a small val part.

    The photos are divided into folds (`review.folds`). Each fold is predicted by a model that was trained on the
    others, for the share `review.schedule` of the experiment's limits. Builds label_review from the COCO cache if it is
    stale or missing, after the training and the evaluation of the experiment.
    """
    from agar_pipeline.commands.experiment import build_from_cache, parse_experiment
    from agar_pipeline.reports.cross_validation_words import describe_cross_validation

    experiment, as_configured = parse_experiment(words)
    review = build_from_cache(experiment, "label_review", as_configured=as_configured).artifact
    plain = review.cross_validation()
    if as_json:
        echo(json.dumps({"experiment": experiment.name, "path": str(review.root), **plain}, indent=1))
        return
    described = describe_cross_validation(plain)
    echo(described["words"])
    for row in described["rows"]:
        echo(f"{row['title']:<36} {row['value']:>7}  ({row['interval']})  folds: {row['per_fold']}")
    if described["warning"]:
        say(described["warning"])
    say(f"look at {review.root / 'report.html'}")
