"""Fills pages from the code: commands from click when the site is built, keys from the dataclasses.

The tables of keys and of published figures are also in the pages themselves, for readers of the checkout:
`python -m docs.generate` writes them, and a test holds them up to date. It draws the picture of the rooms as well.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill one page; mkdocs calls it for each."""
    for mark, make in MARKS.items():
        if mark in markdown:
            made = "\n".join([mark, *make(), "", END])
            written = re.compile(f"{mark}(?:(?:(?!<!-- ).)*{END})?", re.DOTALL)
            markdown = written.sub(lambda _, made=made: made, markdown)  # type: ignore[misc]
    return markdown


def describe_commands() -> Iterator[str]:
    """The help of every command, as it is printed."""
    from agar_pipeline.commands import agar

    for path, command in commands_of(agar, ("agar",)):
        context = click.Context(command, info_name=" ".join(path), terminal_width=100)
        yield f"\n## {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```"


def commands_of(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below a group, subcommands included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands_of(command, (*path, name))


def describe_pipeline_file() -> Iterator[str]:
    """The keys of a pipeline file, then those of each of its sections."""
    from agar_pipeline.config import PipelineConfig

    yield from describe_config(PipelineConfig)


def describe_experiment_file() -> Iterator[str]:
    from agar_pipeline.config import ExperimentConfig

    yield from describe_config(ExperimentConfig)


def describe_config(config_type: type) -> Iterator[str]:
    """A table for a config, and one for each config below it."""
    from agar_pipeline.config.described_keys import describe_configs

    for config in describe_configs(config_type):
        yield f"\n### {config.name}\n\n{config.about}\n"
        yield "| key | value | default | |\n| --- | --- | --- | --- |"
        for key in config.keys:
            cells = (f"`{key.name}`", key.values, key.default, key.about)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def describe_rules() -> Iterator[str]:
    """Every rule of the bbox report: what it means, and what may be done about it."""
    from agar_pipeline.config.box_policy import ALLOWED_ACTIONS, BOX_POLICY_DEFAULTS
    from agar_pipeline.reports.rule_words import RULE_WORDS

    yield "| rule | means | default | or |\n| --- | --- | --- | --- |"
    for rule, actions in ALLOWED_ACTIONS.items():
        default = BOX_POLICY_DEFAULTS[rule]
        others = ", ".join(f"`{action}`" for action in actions if action != default)
        yield f"| `{rule}` | {RULE_WORDS[rule].meaning} | `{default}` | {others} |"


def describe_rooms() -> Iterator[str]:
    """Every room in the order of the data, and its modules with the first sentence of each."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))  # mkdocs loads this file by its path
    from tests.house import PACKAGE, ROOMS, modules_of

    def first_sentence(path: Path) -> str:
        return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]

    for name in ROOMS:
        folder = PACKAGE.joinpath(*name.split("."))
        about = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        yield f"\n## {name}\n\n{first_sentence(about)}\n"
        rows = [module for module in modules_of(name) if module != name]
        if rows:
            yield "| module | about |\n| --- | --- |"
        for module in rows:
            path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
            yield f"| `{module.removeprefix(f'{name}.')}.py` | {first_sentence(path).replace('|', '/')} |"


def describe_error_index() -> Iterator[str]:
    """Every class of error, with its messages and their next steps."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))  # mkdocs loads this file by its path
    from docs.error_index import describe_errors

    yield from describe_errors()


def describe_coco_figures() -> Iterator[str]:
    """The published AP on COCO of each detector that has one."""
    from agar_pipeline.detection.models.catalogue import PUBLISHED

    yield "| detector | COCO AP | source |\n| --- | --- | --- |"
    for name, figures in PUBLISHED.items():
        if figures.coco_ap is not None:
            backbone = f" on `{figures.backbone}`" if figures.backbone else ""
            yield f"| `{name}`{backbone} | {figures.coco_ap:.1f} | {figures.source} |"


def describe_agar_figures() -> Iterator[str]:
    """The published results on the AGAR data set, as the evaluation page lists them."""
    from agar_pipeline.reports.literature import PUBLISHED

    yield "| source | photos | mAP | count MAE |\n| --- | --- | --- | --- |"
    for row in PUBLISHED:
        yield f"| {row.source} | {row.data} | {100 * row.map_50_95:.1f} % | {row.count_mae or ''} |"


CELL_PX, NAME_PX = 16, 190


def draw_rooms() -> str:
    """Who imports whom, as SVG: a row imports from a column; nothing is above the diagonal."""
    from tests.house import ROOMS, imports_between_rooms

    counts = imports_between_rooms()
    most = max(counts.values())
    drawn = []
    for row, one in enumerate(ROOMS):
        y = NAME_PX + CELL_PX * row
        drawn.append(f'<text x="{NAME_PX - 6}" y="{y + 12}" text-anchor="end">{one}</text>')
        turned = f"rotate(-90 {NAME_PX + CELL_PX * row + 12} {NAME_PX - 6})"
        drawn.append(f'<text x="{NAME_PX + CELL_PX * row + 12}" y="{NAME_PX - 6}" transform="{turned}">{one}</text>')
        for column, other in enumerate(ROOMS[: row + 1]):
            count = counts[one, other]
            fill = (
                "#555" if one == other else f"rgba(0,121,107,{0.15 + 0.85 * count / most:.2f})" if count else "#f4f4f4"
            )
            said = f"<title>{one} imports {other}: {count}</title>" if count else ""
            x = NAME_PX + CELL_PX * column
            drawn.append(f'<rect x="{x}" y="{y}" width="15" height="15" fill="{fill}">{said}</rect>')
    side = NAME_PX + CELL_PX * len(ROOMS) + 4
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">'
    style = "<style>text{font:11px sans-serif;fill:#222}</style>"
    return f'{head}{style}<rect width="{side}" height="{side}" fill="#fff"/>{"".join(drawn)}</svg>\n'


MARKS = {
    "<!-- rooms -->": describe_rooms,
    "<!-- commands -->": describe_commands,
    "<!-- errors -->": describe_error_index,
    "<!-- pipeline file -->": describe_pipeline_file,
    "<!-- experiment file -->": describe_experiment_file,
    "<!-- box rules -->": describe_rules,
    "<!-- figures on COCO -->": describe_coco_figures,
    "<!-- figures on AGAR -->": describe_agar_figures,
}
"""What stands in a page → what follows it, up to `END`."""
END = "<!-- end -->"
PAGES = Path(__file__).parent
KEPT = (PAGES / "reference" / "configuration.md", PAGES / "explanation" / "detectors.md")
"""The pages of the checkout that have generated parts."""

if __name__ == "__main__":
    for page in KEPT:
        page.write_text(on_page_markdown(page.read_text()))
    (PAGES / "pictures" / "rooms.svg").write_text(draw_rooms())
