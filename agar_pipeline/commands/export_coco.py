"""`agar export-coco`: exports a FiftyOne dataset as COCO files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agar_pipeline.commands.number_options import FiniteRange


class SeveralValues(click.Command):
    """A command whose `multiple` options also accept several values after one name: `--fractions 0.8 0.2`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        several = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        spread: list[str] = []
        last: str | None = None
        for word in args:
            if word.startswith("--"):
                last = word if word in several else None
                spread += [] if last else [word]
            else:
                spread += [last, word] if last else [word]
        return super().parse_args(ctx, spread)


_MEDIA = ("reference", "link", "copy", "resize")
_EXIF = ("displayed", "stored", "refuse")
_METHODS = ("random", "hash", "tags", "field", "lists")


@click.command("export-coco", cls=SeveralValues, epilog="Example: agar export-coco --dataset plates --out-dir coco")
@click.option("--dataset", required=True, help="Name of the FiftyOne dataset.")
@click.option(
    "--out-dir",
    required=True,
    type=click.Path(path_type=Path),
    help="A new or empty folder, or one of an earlier export.",
)
@click.option("--split-method", type=click.Choice(_METHODS), help="Default: what the options below imply, else random.")
@click.option("--train-view", help="tags: tag:NAME, field:PATH=VALUE or saved:NAME; likewise:")
@click.option("--val-view")
@click.option("--test-view")
@click.option("--split-field", help="field: the field whose value (train, val, test) names the part.")
@click.option(
    "--field-values", multiple=True, help="field: VALUE=PART, for other values than parts: lower=train up=val"
)
@click.option("--train-list", type=click.Path(exists=True), help="lists: a text file, an image a line; likewise:")
@click.option("--val-list", type=click.Path(exists=True))
@click.option("--test-list", type=click.Path(exists=True))
@click.option("--fractions", multiple=True, type=FiniteRange(), help="random, hash: shares of the parts: 0.8 0.2")
@click.option("--seed", type=int, help="random, hash.")
@click.option("--group-by", help="random, hash: field:PATH, whose images stay together, or duplicates.")
@click.option("--stratify-by", help="random, hash: class, or field:PATH.")
@click.option("--view", help="Only these samples: tag:NAME, field:PATH=VALUE or saved:NAME.")
@click.option("--label-field", help="Field of type Detections; default: as the pipeline file says.")
@click.option(
    "--exif", type=click.Choice(_EXIF), help="How EXIF-rotated photos were shown when their boxes were drawn."
)
@click.option("--classes", multiple=True, help="Names in order of their ids; default: the dataset's labels, sorted.")
@click.option(
    "--unlabelled",
    type=click.Choice(("fail", "leave_out", "keep")),
    default="leave_out",
    show_default=True,
    help="What to do with images that nobody has labelled; keep treats them as empty plates.",
)
@click.option("--media", type=click.Choice(_MEDIA), default="reference", help="How photos are put into the export.")
@click.option("--max-side", type=int, help="Longer side of the copies of --media resize, in pixels.")
@click.option("--database", help="embedded, fiftyone or mongodb://…; default: as the pipeline file says.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(out_dir: Path, classes: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Export a FiftyOne dataset as the COCO files coco/train.json and coco/val.json, with the steps of the pipeline
    but without Dagster.

    Images that no view, list or value of the field assigns to a part are left out, and counted.
    """
    from agar_pipeline.commands.export_words import export_as_asked, print_export

    print_export(export_as_asked(out_dir.absolute(), classes, given), as_json)
