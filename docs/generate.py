"""Fills the reference pages from the code when the site is built: commands from click, keys from the dataclasses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

CONFIG = Path(__file__).resolve().parent.parent / "agar_pipeline" / "config"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs calls it for each page."""
    for mark, make in (("<!-- commands -->", describe_commands), ("<!-- configuration -->", describe_configs)):
        if mark in markdown:
            markdown = markdown.replace(mark, "\n".join(make()))
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


def describe_configs() -> Iterator[str]:
    """Every key of every config, its type, its default, and what stands under it in the code."""
    for path in sorted(CONFIG.glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and (rows := list(_rows(node))):
                about = ast.get_docstring(node) or ""
                yield f"\n## {node.name}\n\n{about}\n\n| key | type | default | |\n| --- | --- | --- | --- |"
                yield from rows


def _rows(node: ast.ClassDef) -> Iterator[str]:
    following = [*node.body[1:], None]
    for line, after in zip(node.body, following, strict=True):
        if not isinstance(line, ast.AnnAssign) or "ClassVar" in ast.unparse(line.annotation):
            continue
        doc = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        kind = re.sub(r"Annotated\[(.*?), Field\((.*?)\)\]", r"\1 (\2)", ast.unparse(line.annotation))
        default = "required" if line.value is None else f"`{ast.unparse(line.value)}`"
        cells = (f"`{ast.unparse(line.target)}`", f"`{kind}`", default, " ".join(str(doc).split()))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
