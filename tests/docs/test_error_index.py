"""docs/reference/errors.md holds every message of an error that a user can meet, and no other."""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from agar_pipeline import errors

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = CHECKOUT / "agar_pipeline"
PAGE = CHECKOUT / "docs" / "reference" / "errors.md"

OURS = [name for name, found in vars(errors).items() if inspect.isclass(found)]
SECTION = {
    **{name: name for name in OURS},
    "UsageError": "UsageError",
    "NotCocoError": "AnnotationError",  # `coco.parse` and `results_parse` put the file's path before it
    "problems": "AnnotationError",  # `reading.problems.append(…)`: what an import lists
    "add_problem": "AnnotationError",
    "IdError": "AnnotationError",  # `coco.parse` and `coco_content` say where
    "TextFileError": "AnnotationError",  # each reader puts the file's path before it
    "_WrongError": "AnnotationError",  # `voc_annotation` does
    "UnclearPixelsError": "ImageFileError",  # `image_errors` puts the photo's path before it
}
"""What is called with a message → the section of the page that must hold it."""
WORDED_BY = {
    ("chain/agreement.py", "_in_words"): "ArtifactError",
    ("chain/current.py", "_why"): "ArtifactError",
    ("artifacts/refusals.py", "refusal_of_boxes"): "GateError",
    ("artifacts/refusals.py", "refusal_of_split"): "GateError",
    ("config/detectors.py", "find_unknown_name"): "ConfigError",
    ("config/plain_values.py", "_explain"): "ConfigError",
    ("photos/image_paths.py", "find_image_file"): "ImageFileError",
    ("photos/image_paths.py", "unsafe_name"): "ImageFileError",
    ("detection/training/determinism.py", "explain_refusal"): "TrainingError",
    ("detection/training/out_of_memory.py", "explain_memory"): "TrainingError",
    ("processes/exit_reasons.py", "explain_end"): "ComputeError",
    ("fiftyone_io/database/connection.py", "explain"): "DatabaseError",
    ("text/ids.py", "explain_broken"): "AnnotationError",
    ("fiftyone_io/annotation_files/yolo_rows.py", "_explain"): "AnnotationError",
    ("fiftyone_io/annotation_files/yolo_rows.py", "_explain_polygon"): "AnnotationError",
}
"""Functions that word messages for others to raise → the section."""
WORDLESS = {
    "GateError(refusal)",
    "GateError(check.description or f'{check.asset_key.to_user_string()}: {check.check_name} failed')",
    "ConfigError(f'{where}: ' + '; '.join((_explain(config_type, item, source_of) for item in wrong)))",
    "ConfigError(unknown)",  # find_unknown_name
    "ValueError(unknown)",
    "DatabaseError(explain(error, uri, said_by))",
    "ImageFileError(f'{found.reason}: {found.next_step}')",  # find_image_file
    "TrainingError(explain_memory(config, loop.module.batch_names, error))",
    "TrainingError(refusal)",  # explain_refusal
    "DatasetError(trouble)",  # of the error that was met when the dataset was looked at
    "SharedStoreError(trouble)",  # the same again, without asking
    "self.problems.append(problem)",  # Reading.add_problem
    "AnnotationError(f'{path} {error}')",  # TextFileError
    "AnnotationError(f'{path}: {error}: {_MEND}')",  # _WrongError
    "AnnotationError(f'{path}: row {place} {wrong}: {_MEND}')",  # RowReader._explain
    "TrainingError(f'{error}\\n{kept}')",  # any of the others
    "ArtifactError(f'{error}{known}')",  # the same
    "PipelineError(f\"{str(event.step_key).replace('__', '/')}: {text}\")",
}
"""Errors whose words are found elsewhere: in `WORDED_BY`, or in another error."""
LEAST_LETTERS = 8
"""Of fixed words, to tell one message from another."""


def fixed_words(node: ast.expr) -> str:
    """A message with `…` for each value, on one line, without backticks (in Markdown they would end the code)."""
    if isinstance(node, ast.Constant):
        text = str(node.value)
    elif isinstance(node, ast.JoinedStr):
        text = "".join(fixed_words(part) for part in node.values)
    elif isinstance(node, ast.BinOp):
        text = fixed_words(node.left) + fixed_words(node.right)
    elif isinstance(node, ast.FormattedValue):
        text = fixed_words(node.value) if isinstance(node.value, ast.Call) else "…"
    elif isinstance(node, ast.Call) and called_name(node) == "remedy":  # the index is for owners of a pipeline file
        text = fixed_words(node.args[0])
    else:
        text = "…"
    return re.sub(r"…+", "…", text.replace("`", "").replace("\n", " "))


def tells_something(text: str) -> bool:
    return sum(letter.isalpha() for letter in text) >= LEAST_LETTERS


def called_name(call: ast.Call) -> str:
    """`ConfigError`, `UsageError`, `problems` of `reading.problems.append`, …"""
    called = call.func
    if isinstance(called, ast.Attribute) and called.attr == "append":
        called = called.value
    return called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")


def section_of(call: ast.Call, module: str) -> str | None:
    """Of the message that a call makes; None where it makes none, or passes another error's words on."""
    name = called_name(call)
    if not call.args or ast.unparse(call.args[0]) == "str(error)":
        return None
    if name == "ValueError" and module.startswith("config/"):
        return "ConfigError"  # pydantic hands it to `from_plain`, which raises one
    return SECTION.get(name)


def sections() -> tuple[dict[str, set[str]], set[str]]:
    """Section → the messages that the code holds, as `fixed_words`; and the calls that have no words of their own."""
    found, wordless = defaultdict(set), set()
    for path in PACKAGE.rglob("*.py"):
        module = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (section := section_of(node, module)):
                text = fixed_words(node.args[0])
                if tells_something(text) or called_name(node) == "NotCocoError":
                    found[section].add(text)
                else:
                    wordless.add(ast.unparse(node))
            elif isinstance(node, ast.FunctionDef) and (module, node.name) in WORDED_BY:
                found[WORDED_BY[module, node.name]] |= set(returned(node))
    return found, wordless


def returned(function: ast.FunctionDef) -> Iterator[str]:
    """The texts that a function returns, or wraps in what it returns."""
    for each in ast.walk(function):
        if isinstance(each, ast.Return) and each.value is not None:
            texts = [each.value, *getattr(each.value, "args", [])]
            yield from filter(
                tells_something, (fixed_words(text) for text in texts if isinstance(text, ast.JoinedStr | ast.BinOp))
            )


def rows() -> dict[str, set[str]]:
    """Section of the page → the code in the first cells of its tables of messages."""
    found: dict[str, set[str]] = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        cells = re.findall(r"^\| `([^`]+)` \|", part, re.MULTILINE)
        assert len(cells) == len(set(cells)), "a row stands twice"
        found[part.splitlines()[0]] = set(cells)
    return found


def test_each_message_has_a_row_and_each_row_a_message() -> None:
    """A row holds the beginning of a message; the longest that fits is the message's own."""
    there, (wanted, wordless) = rows(), sections()
    assert wordless == WORDLESS, "say where the words of these are: WORDED_BY and WORDLESS"
    missing, used = [], set()
    for section, texts in wanted.items():
        for text in texts:
            fitting = [row for row in there.get(section, ()) if text.startswith(row)]
            if fitting:
                used.add((section, max(fitting, key=len)))
            else:
                missing.append(f"{section}: {text}")
    assert not missing, "add rows with cause and cure to docs/reference/errors.md:\n" + "\n".join(sorted(missing))
    unused = {(section, row) for section, cells in there.items() for row in cells} - used
    assert not unused, "no message begins so any more, take these out of docs/reference/errors.md"


def test_the_page_begins_with_its_sections_and_their_exit_codes() -> None:
    listed: dict[str, str] = {}
    for line in PAGE.read_text().partition("\n## ")[0].splitlines():
        listed |= {name: line.rstrip(" |").rpartition(" ")[2] for name in re.findall(r"\[(\w+)\]\(#", line)}
    codes = {name: str(found.exit_code) for name, found in vars(errors).items() if name in rows()}
    assert listed == {"UsageError": "2", **codes}
