"""`agar models`: lists the detectors, and tries one of them."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

import click

from agar_pipeline.commands.terminal import echo, say

PLATES = 2
WIDTH = 150
"""Columns of the table if the output is not a terminal."""


@click.command("models", epilog="Example: agar models --check tiny")
@click.option("--check", "name", metavar="NAME", help="Build this detector, or RetinaNet on timm/NAME, and try it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the detectors that `model.name` may have: parameters in millions, AP on COCO as published, pixels of the
    finest stride, the extra that it needs, and the licence of its weights. A star marks those that are recommended for
    small colonies on this machine.

    With --check, train one step of a detector on generated plates with random weights, and export it to ONNX. Exit 1 if
    it cannot be built or trained. Nothing is downloaded.
    """
    if name is not None:
        _check(name, as_json)
        return
    from agar_pipeline.use_cases.model_list import Machine, list_models

    machine = Machine.find()
    rows = list_models(machine)
    if as_json:
        echo(json.dumps({"machine": str(machine), "models": rows}, indent=1))
        return
    _print_table(rows)
    echo(f"* recommended for small colonies on this machine ({machine})")
    for number, source in enumerate(_sources(rows), start=1):
        echo(f"[{number}] {source}")
    echo("next: agar models --check NAME, then `agar train experiment=E model.name=NAME`")


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    sources = _sources(rows)
    table = Table(box=None)
    table.add_column("")
    table.add_column("name", no_wrap=True)
    for title in ("M par.", "COCO AP", "stride", "extra", "licence of the weights", "why, or why not"):
        table.add_column(title)
    for row in rows:
        ap = "–" if row["coco_ap"] is None else f"{row['coco_ap']:.1f} [{sources.index(row['source']) + 1}]"
        cells = (row["parameters_m"], ap, row["finest_stride"], row["extra"], row["licence_of_weights"], row["why"])
        star = "*" if row["recommended"] else ""
        table.add_row(star, row["name"], *("–" if cell is None else str(cell) for cell in cells))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    echo("".join(part.text for part in Console(width=width, markup=False).render(table)), nl=False)


def _sources(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["source"] for row in rows if row["source"]))


def _check(name: str, as_json: bool) -> None:
    import tempfile
    from pathlib import Path

    from agar_pipeline.plates.generate import generate_coco
    from agar_pipeline.use_cases.model_check import check_model, model_of, side_of

    model = model_of(name)
    with tempfile.TemporaryDirectory() as scratch:
        plates = Path(scratch) / "plates"
        columns = generate_coco(plates, PLATES, side_of(model.name))
        found = check_model(model, columns, plates, Path(scratch) / "work", say)
    if as_json:
        echo(json.dumps(found, indent=1))
        return
    onnx = found["onnx"]
    echo(f"{name}: {found['parameters_m']:g} M parameters, loss {found['losses']['loss']:.2f} after one step")
    echo(f"the step took {found['step_seconds']:g} s on {found['device']}, {found['input_px']} px, two plates")
    echo(f"ONNX: {onnx['size_mb']:g} MB" if onnx["exported"] else f"no ONNX file: {onnx['why_not']}")
