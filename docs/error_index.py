"""Makes the index of error messages from the classes of `errors` and the calls in the package that build them.

A message is read from the code: literal words stay, a value becomes `…`.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline import errors
from agar_pipeline.errors import PipelineError

PACKAGE = Path(__file__).resolve().parent.parent / "agar_pipeline"
USAGE = "UsageError"
"""Click's own error, for options and arguments."""
IN_A_FILE = {
    "TextFileError": "AnnotationError",
    "IdError": "AnnotationError",
    "NotCocoError": "AnnotationError",
    "CellError": "SheetError",
    "UnclearPixelsError": "ImageFileError",
}
"""Subclass of `UnplacedError` → the error that a reader, which knows the file, mostly makes of it."""
LEAST_LETTERS = 8
"""Of fixed words, to tell one message from another."""


@dataclass(frozen=True)
class Built:
    """One call that builds an error."""

    kind: str
    message: str
    next_step: str | None
    place: str
    """Module and line, for the test."""

    @property
    def has_words(self) -> bool:
        """Whether the call words the message itself; otherwise another error does, whose words it passes on."""
        return sum(letter.isalpha() for letter in self.message) >= LEAST_LETTERS


def error_classes() -> dict[str, type[PipelineError]]:
    """Name → class, in the order of the module."""
    found = vars(errors).values()
    return {kind.__name__: kind for kind in found if inspect.isclass(kind) and issubclass(kind, PipelineError)}


def built_errors() -> Iterator[Built]:
    """Every call in the package that builds an error of ours or click's UsageError."""
    kinds = {name: name for name in (*error_classes(), USAGE)} | IN_A_FILE
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        constants = dict(_constants(tree))
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and (name := _name(call.func)) in kinds:
                given = {word.arg: word.value for word in call.keywords}
                what = call.args[0] if call.args else given.get("what")
                if what is None:  # `from_fields`
                    continue
                place = "=".join(_words(given[field], constants) for field in ("where", "value") if field in given)
                if name in IN_A_FILE:
                    place = f"…: {place}" if place else "…"
                message = f"{place} {_words(what, constants)}".strip()
                next_step = _words(given["next_step"], constants) if "next_step" in given else None
                yield Built(kinds[name], message, next_step, f"{path.relative_to(PACKAGE)}:{call.lineno}")


def describe_errors() -> Iterator[str]:
    """One section per class: its exit code, what it is about, and its messages with their next steps."""
    rows = defaultdict(set)
    for built in built_errors():
        if built.has_words:
            rows[built.kind].add((built.message, built.next_step or ""))
    for name, kind in {USAGE: None, **error_classes()}.items():
        if not rows[name]:
            continue
        about, code = ("An option or argument is missing, unknown or contradicts another.", 2)
        if kind is not None:
            about, code = (inspect.getdoc(kind) or "").split("\n")[0], kind.exit_code
        yield f"\n## {name}\n\n{about} Exit code {code}.\n\n| message | next step |\n| --- | --- |"
        for message, next_step in sorted(rows[name], key=lambda row: row[0].lstrip("… ").lower()):
            yield f"| {_cell(message)} | {_cell(next_step)} |"


def _name(called: ast.expr) -> str:
    return called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Texts that a module gives a name."""
    for line in tree.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            yield line.targets[0].id, line.value


def _words(node: ast.expr, constants: Mapping[str, ast.expr]) -> str:
    """The literal words of an expression, with `…` for each value, in one line."""
    if isinstance(node, ast.Constant):
        text = str(node.value)
    elif isinstance(node, ast.JoinedStr):
        text = "".join(_words(part, constants) for part in node.values)
    elif isinstance(node, ast.BinOp):
        text = _words(node.left, constants) + _words(node.right, constants)
    elif isinstance(node, ast.FormattedValue):
        text = _words(node.value, constants)
    elif isinstance(node, ast.Call) and _name(node.func) == "remedy":
        text = f"{_words(node.args[0], constants)} (in a command: {_words(node.keywords[0].value, constants)})"
    elif isinstance(node, ast.Call) and _name(node.func) == "plural":
        text = f"… {_words(node.args[-1], constants)}" + "s" * (len(node.args) == 2)
    elif isinstance(node, ast.Name) and isinstance(constants.get(node.id), ast.Constant | ast.JoinedStr | ast.BinOp):
        text = _words(constants[node.id], constants)
    else:
        text = "…"
    return text.replace("\n", " ").replace("……", "…")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").strip()
