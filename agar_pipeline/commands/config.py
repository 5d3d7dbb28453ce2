"""`agar config`: prints every value of an experiment, and where it comes from; or describes the keys of the files."""

from __future__ import annotations

import dataclasses
import json
import textwrap

import click

from agar_pipeline.commands.experiment import split_words
from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.text.safe_text import as_command


@click.command("config", epilog="Example: agar config experiment=demo optimizer.lr=1e-3")
@click.argument("words", nargs=-1, metavar="experiment=E [key=value…]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--keys", is_flag=True, help="Describe every key of the config files instead.")
def command(words: tuple[str, ...], as_json: bool, keys: bool) -> None:
    """Show every value of an experiment, and the file or override that it comes from."""
    if keys:
        if words or as_json:
            raise click.UsageError("--keys describes all keys: leave the other arguments out")
        _describe_keys()
        return
    from agar_pipeline.config.load_configs import explain_experiment

    name, overrides = split_words(words)
    origins = explain_experiment(name, overrides)
    if as_json:
        echo(json.dumps([dataclasses.asdict(origin) for origin in origins], indent=1))
        return
    shown = [(f"{origin.key}: {json.dumps(origin.value)}", origin.source) for origin in origins]
    width = min(48, max(len(value) for value, _ in shown))
    for value, source in shown:
        echo(f"{value:<{width}}  {source}")
    _say_choice(words)
    echo(f"next: {as_command('agar', 'train', *words)}", err=True)


def _describe_keys() -> None:
    from agar_pipeline.config import ExperimentConfig, PipelineConfig
    from agar_pipeline.config.box_policy import ALLOWED_ACTIONS, BOX_POLICY_DEFAULTS
    from agar_pipeline.config.described_keys import describe_configs, without_links
    from agar_pipeline.reports.rule_words import RULE_WORDS

    for folder, config_type in (("pipeline", PipelineConfig), ("experiment", ExperimentConfig)):
        echo(f"Keys of configs/{folder}/NAME.yaml\n")
        for config in describe_configs(config_type):
            echo(f"{config.name}: {' '.join(without_links(config.about).split())}")
            for key in config.keys:
                default = {"": "", "required": " (required)"}.get(key.default, f" (default: {key.default})")
                echo(without_links(f"  {key.name}: {key.values}{default}"))
                _indented(without_links(key.about))
            echo("")
    echo("Rules of box_policy:")
    for rule, actions in ALLOWED_ACTIONS.items():
        echo(f"  {rule}: {', '.join(actions)} (default: {BOX_POLICY_DEFAULTS[rule]})")
        _indented(without_links(RULE_WORDS[rule].meaning))


def _indented(text: str) -> None:
    if text:
        echo(textwrap.fill(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))


def _say_choice(words: tuple[str, ...]) -> None:
    """Print the values that stand for `auto` in the data config, if there is a COCO cache to choose them from."""
    from agar_pipeline.commands.chosen_data import CHOSEN_KEYS, choose_from_cache
    from agar_pipeline.commands.experiment import parse_experiment
    from agar_pipeline.config import to_plain
    from agar_pipeline.errors import PipelineError

    experiment, _ = parse_experiment(words)
    try:
        settled, said = choose_from_cache(experiment)
    except PipelineError as error:
        say(
            "note: the values that `auto` stands for are chosen from the current COCO cache, "
            f"which cannot be used: {error.in_one_line}"
        )
        return
    chosen = to_plain(settled.data)
    for key in CHOSEN_KEYS:
        if getattr(experiment.data, key) == "auto":
            echo(f"data.{key} is {json.dumps(chosen[key])} for the current COCO cache")
    echo(said)
