"""`agar explain`: follows one image through all snapshots, splits, trainings and evaluations."""

from __future__ import annotations

import json
from typing import Any

import click

from agar_pipeline.commands.terminal import echo
from agar_pipeline.text.plurals import plural

_TOLD = ("torch", "torchvision", "hotcoco")


@click.command("explain", epilog="Example: agar explain 17.jpg")
@click.argument("image")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(image: str, as_json: bool) -> None:
    """Follow one photo through all artifacts: its hash, its part, and every training and evaluation that used it.

    IMAGE is a path, a base name, an image_id or a sample_id.
    """
    from agar_pipeline.config import agar_home
    from agar_pipeline.history.photo_history import explain_image
    from agar_pipeline.store import Store

    history = explain_image(Store(agar_home()), image)
    if as_json:
        echo(json.dumps(history, indent=1))
        return
    own = history["image"]
    echo(f"{own['path']} of dataset {own['dataset']}, sample {own['sample_id']}")
    echo(f"sha256 {own['sha256'] or 'unknown: the photo was missing'}")
    _section("snapshots", history["snapshots"], _snapshot_line)
    _section("splits", history["splits"], lambda row: f"{row['split'][:12]}  {row['part']}")
    _section("trained by", history["trained_by"], lambda row: _user_line(row, "training_run"))
    _section("evaluated by", history["evaluated_by"], lambda row: _user_line(row, "evaluation"))
    newest, *older = history["snapshots"]
    before = next((row for row in older if _content(row) != _content(newest)), None)
    if before:
        echo(f"next: agar diff {before['snapshot'][:12]} {newest['snapshot'][:12]}")


def _content(row: dict[str, Any]) -> tuple[str | None, str]:
    return row["image_sha256"], row["annotations_sha256"]


def _section(title: str, rows: list[dict[str, Any]], line: Any) -> None:
    echo(f"{title}:" + ("" if rows else " none"))
    for row in rows:
        echo(f"  {line(row)}  {row['created_at'][:16]}{'  (latest)' if row['latest'] else ''}")
        if made_by := row.get("made_by"):
            echo(f"    {_made_by_line(made_by)}")


def _snapshot_line(row: dict[str, Any]) -> str:
    photo, annotations = (row["image_sha256"] or "missing")[:12], row["annotations_sha256"][:12]
    boxes = plural(row["boxes"], "box", "boxes")
    return f"{row['snapshot'][:12]}  photo {photo}  annotations {annotations}  {boxes}  {row['dataset']}"


def _made_by_line(made_by: dict[str, Any]) -> str:
    """Return code, machine and libraries in one line, and how today's differ."""
    machine = " on ".join(made_by["machine"][name] for name in ("precision", "device") if name in made_by["machine"])
    libraries = ", ".join(f"{name} {made_by['libraries'][name]}" for name in _TOLD if name in made_by["libraries"])
    told = ["code " + (made_by["code"] or "not recorded")[:12], machine, libraries, *made_by["differs_today"]]
    return "; ".join(filter(None, told))


def _user_line(row: dict[str, Any], asset: str) -> str:
    return f"{row['experiment']} {row[asset][:12]}  part {row['part']}  snapshot {row['snapshot'][:12]}"
