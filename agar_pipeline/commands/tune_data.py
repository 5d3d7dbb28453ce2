"""`agar tune-data`: writes what `data: auto` chooses to a config file."""

from __future__ import annotations

from typing import Any

import click

from agar_pipeline.commands.terminal import echo, say

_HEAD = """\
# Scale, crops and batch that `data: auto` chose for the experiment {name}; yours to edit.
# {words}
"""


@click.command("tune-data", epilog="Example: agar tune-data experiment=demo")
@click.argument("words", nargs=-1, metavar="experiment=E [key=value…]")
def command(words: tuple[str, ...]) -> None:
    """Write what `data: auto` chooses from the current COCO cache into configs/data/E.yaml.

    The experiment then keeps scale, crops and batch when photos are added. An existing file is kept, and the values
    that would be chosen now are printed.
    """
    import dataclasses

    import yaml

    from agar_pipeline.commands.chosen_data import choose_from_cache, unfreeze
    from agar_pipeline.commands.experiment import parse_experiment
    from agar_pipeline.config import own_configs_dir, to_plain
    from agar_pipeline.ownership.single_files import create_file

    experiment, _ = parse_experiment(words)
    if experiment.data.frozen:
        given = [word.partition("=")[0].removeprefix("data.") for word in words]
        experiment = dataclasses.replace(experiment, data=unfreeze(experiment.data, given))
    settled, said = choose_from_cache(experiment)
    plain = to_plain(dataclasses.replace(settled.data, frozen=True))
    path = own_configs_dir() / "data" / f"{experiment.name}.yaml"
    echo(said)
    if path.exists():
        there: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
        others = [key for key in plain if key in there and there[key] != plain[key]]
        for key in others:
            echo(f"{key} is {there[key]} in {path.name}; with these arguments, {plain[key]} would be chosen")
        say(f"{path} exists and is kept: edit it" if others else f"{path} holds the same values: nothing to do")
        return
    create_file(path, _HEAD.format(name=experiment.name, words=said) + yaml.safe_dump(plain, sort_keys=False))
    say(f"wrote {path}")
    say(
        f"next: in configs/experiment/{experiment.name}.yaml, write `- override /data: {experiment.name}` "
        "below `defaults:`"
    )
