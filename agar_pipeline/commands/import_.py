"""`agar import`: imports annotated images into a FiftyOne dataset, one subcommand per format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agar_pipeline.commands.database_options import migrate_option
from agar_pipeline.text.safe_text import as_command

_LINES = {
    "agar": "AGAR's own format: N.json beside N.jpg; training_lists/ beside the images become tags.",
    "coco": "COCO: one JSON file, whose file_names are relative to the images' folder.",
    "voc": "Pascal VOC: XML files in Annotations/, images in JPEGImages/; or both in one folder.",
    "yolo": "YOLO: text files beside the images, or in labels/ beside images/; names in data.yaml or classes.txt.",
    "labelme": "labelme: N.json beside N.jpg; rectangles, circles and polygons become boxes.",
}
_ANNOTATIONS = {
    "agar": None,
    "coco": "The COCO file; default: the only *.json in the images' folder.",
    "voc": "Folder of the XML files; default: Annotations/, else the images' folder.",
    "yolo": "Folder of the text files, or the file with the names of the classes; default: searched for.",
    "labelme": "Folder of the JSON files; default: the images' folder.",
}
_OVERWRITE = (
    "Replace labels that a person made or changed by those of the annotations, in the field ground_truth only. Other "
    "fields, tags and samples that no import made are not removed."
)
_EXIF = (
    "How photos with an EXIF rotation were shown when their boxes were drawn: rotated, as viewers show them "
    "(displayed, the default), or as they are stored in the file (stored). refuse imports nothing if there are such "
    "photos."
)
_UNLABELLED = (
    "What to do with images that nobody has labelled (without an annotation, or marked as not done): refuse the "
    "folder, leave them out, or keep them as samples without labels. An image with an empty annotation counts as "
    "labelled: it is an empty plate."
)


class _FormatGroup(click.Group):
    """The formats as subcommands; if a folder stands in place of a format, the error names the command to type."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in self.commands and Path(args[0]).exists():
            example = as_command("agar", "import", "agar", "--images-dir", args[0], "--dataset", "plates")
            formats = ", ".join(self.commands)
            raise click.UsageError(f"name the format of the annotations first: {formats}; for example {example}", ctx)
        return super().resolve_command(ctx, args)


@click.group("import", cls=_FormatGroup, epilog="Example: agar import agar --images-dir photos --dataset plates")
def command() -> None:
    """Import annotated images into a FiftyOne dataset. A second import updates the samples from their annotation files.

    Labels that a person made or changed are kept and listed; so are samples that no import made. A photo that was
    moved is recognised by its content.

    Labels become the class names of the pipeline file that reads the dataset; labels that match a class only by
    similar spelling are listed. If files are broken, they are listed, the others are imported, and the exit code is 1.
    """


def _options(format: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    options = [
        click.option(
            "--images-dir", required=True, type=folder, help="Folder of the images; nothing is written to it."
        ),
        click.option("--dataset", required=True, help="Name of the FiftyOne dataset; created if it does not exist."),
        click.option(
            "--database", help="embedded, fiftyone, mongodb://… or env:NAME; default: as the pipeline file says."
        ),
        click.option(
            "--pipeline", "pipeline_file", help="Write configs/pipeline/NAME.yaml for it, unless the file exists."
        ),
        click.option(
            "--unlabelled",
            type=click.Choice(["fail", "leave_out", "keep"]),
            default="leave_out",
            show_default=True,
            help=_UNLABELLED,
        ),
        click.option("--overwrite", is_flag=True, help=_OVERWRITE),
        click.option("--exif", type=click.Choice(["displayed", "stored", "refuse"]), default="displayed", help=_EXIF),
        migrate_option,
        click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON."),
    ]
    if _ANNOTATIONS[format]:
        given = click.Path(exists=True, path_type=Path)
        options.insert(1, click.option("--annotations", type=given, help=_ANNOTATIONS[format]))
    if format == "agar":
        lists = click.option(
            "--training-lists", type=folder, help="Folder of AGAR's lists; default: beside the images."
        )
        options.insert(1, lists)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _subcommand(format: str) -> None:
    example = f"Example: agar import {format} --images-dir photos --dataset plates"

    @command.command(format, help=_LINES[format], epilog=example)
    @_options(format)
    def run(**given: Any) -> None:
        from agar_pipeline.commands.import_words import import_and_report

        import_and_report(format, **given)


for _format in _LINES:
    _subcommand(_format)
