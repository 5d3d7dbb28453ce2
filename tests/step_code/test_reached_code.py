"""What counts as the code of a step: what it can reach, and nothing else."""

from __future__ import annotations

import ast
import sys

import pytest
import torchvision

from agar_pipeline.config import DETECTORS, backbone_weights_of, weights_file, weights_of
from agar_pipeline.detection.loading.devices import resolve_precision
from agar_pipeline.step_code.machine import expected_precision, machine_differences
from agar_pipeline.step_code.provenance import (
    COMPUTING,
    FORMAT,
    NOT_COMPUTING,
    STEPS,
    Provenance,
    provenance_of,
    reach_of,
)
from agar_pipeline.step_code.reached_code import Package, ReachedCode, read_sources
from agar_pipeline.step_code.syntax_tree import read_module
from agar_pipeline.steps import STEPS as BUILT

SOURCES = {
    "__init__.py": "",
    "steps/__init__.py": "",
    "steps/one.py": '''
"""A step."""
import numpy as np
from agar_pipeline import shapes as s
from agar_pipeline.rules import Rule, limit

def build(config):
    """Build."""
    from agar_pipeline.late import finish
    # a comment
    return finish(Rule(), s.area(np.zeros(3)), run_child("agar_pipeline.child"))

def not_called():
    return 1
''',
    "shapes.py": """
def area(x):
    return _double(x)
def _double(x):
    return 2 * x
def perimeter(x):
    return x
""",
    "rules/__init__.py": """
from agar_pipeline.rules.rule import Rule
from agar_pipeline.rules.limits import limit, other
""",
    "rules/rule.py": """
from dataclasses import dataclass
@dataclass
class Rule:
    x: int = 1
    def apply(self):
        return STEP
STEP = 3
""",
    "rules/limits.py": "limit = 5\nother = 6\nprint('loaded')\n",
    "late.py": "import torch\ndef finish(*all):\n    return torch.stack(all)\n",
    "child/__init__.py": "",
    "child/__main__.py": "def main():\n    return 1\n",
    "elsewhere.py": "def unused():\n    return 1\n",
}


def reach(**edits: str) -> ReachedCode:
    sources = dict(SOURCES)
    for path, text in edits.items():
        sources[path] = text
    return Package(sources).reach("agar_pipeline.steps.one", "build")


def edited(path: str, old: str, new: str) -> bool:
    """Whether an edit changes what is reached."""
    assert old in SOURCES[path]
    return reach(**{path: SOURCES[path].replace(old, new)}).modules != reach().modules


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("steps/one.py", "np.zeros(3)", "np.zeros(4)"),
        ("shapes.py", "2 * x", "3 * x"),
        ("rules/rule.py", "return STEP", "return STEP + 1"),
        ("rules/rule.py", "STEP = 3", "STEP = 4"),
        ("rules/rule.py", "@dataclass\n", "@dataclass(frozen=True)\n"),
        ("late.py", "torch.stack", "torch.cat"),
        ("child/__main__.py", "return 1", "return 2"),
        ("rules/limits.py", "print('loaded')", "print('loaded twice')"),
        ("rules/rule.py", "STEP = 3", "STEP = = 3"),
    ],
    ids=[
        "the step itself",
        "a function that a called function calls",
        "a method of a class that comes through another module",
        "a variable that a method reads",
        "a decorator",
        "a function that is imported when it is needed",
        "a module that is started in a process of its own",
        "a statement that runs when a module is loaded",
        "a module that is no Python at the moment",
    ],
)
def test_an_edit_is_seen_in(path: str, old: str, new: str) -> None:
    assert edited(path, old, new)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("steps/one.py", "# a comment", "# another comment"),
        ("steps/one.py", '"""Build."""', '"""Build it."""'),
        ("steps/one.py", "    return 1", "    return 2"),
        ("shapes.py", "    return x\n", "    return 4 * x\n"),
        ("rules/limits.py", "other = 6", "other = 7"),
        ("elsewhere.py", "return 1", "return 2"),
    ],
    ids=["a comment", "a docstring", "a function that is not called", "one beside it", "a variable", "another module"],
)
def test_an_edit_is_not_seen_in(path: str, old: str, new: str) -> None:
    assert not edited(path, old, new)


def test_libraries_are_those_that_the_reached_code_uses() -> None:
    assert reach().libraries & COMPUTING.keys() == {"numpy", "torch"}


def test_each_library_that_is_imported_is_known_to_compute_or_not_to() -> None:
    imported: set[str] = set()
    for source in read_sources().values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    assert imported - set(sys.stdlib_module_names) - {"agar_pipeline"} - COMPUTING.keys() <= NOT_COMPUTING
    assert not COMPUTING.keys() & NOT_COMPUTING


def test_every_step_is_looked_at_and_reaches_what_it_must() -> None:
    assert list(STEPS) == list(BUILT)
    assert {"detection/models/tiny.py", "detection/training/train.py"} <= provenance_of("training_run").modules.keys()
    assert "detection/models/tiny.py" not in provenance_of("coco_cache").modules
    assert {"torch", "torchvision", "hotcoco"} <= provenance_of("evaluation").libraries.keys()


def test_modules_whose_names_are_put_together_at_run_time_are_these_alone() -> None:
    """The walk cannot follow such a name: a new one needs a look at what it reaches."""
    found = [path for path, source in read_sources().items() if 'import_module(f"' in source]
    assert found == ["commands/__init__.py", "fiftyone_io/importing/found_images.py", "steps/__init__.py"]


def test_differences_name_files_and_versions() -> None:
    now = Provenance("d", {"a.py": "1", "b.py": "2"}, {"torch": "2.15"})
    before = {
        "format": FORMAT,
        "digest": "c",
        "modules": {"a.py": "1", "b.py": "3"},
        "libraries": {"torch": "2.14", "gone": "1"},
    }
    assert now.differences(before) == ["made by other code: b.py", "torch 2.14 → 2.15"]
    assert now.differences({}) == []  # of an artifact from before this was recorded


def test_a_file_that_was_moved_is_no_other_code() -> None:
    now = Provenance("d", {"a.py": "1", "rooms/b.py": "2", "rooms/c.py": "4"})
    before = {"format": FORMAT, "digest": "d", "modules": {"a.py": "1", "b.py": "2", "c.py": "3"}, "libraries": {}}
    assert now.differences(before) == ["made by other code: c.py, rooms/c.py"]


def test_a_definition_is_the_same_in_each_version_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12.1 reads an empty string at the end of a format with a value in it; 3.11 and 3.13 do not."""
    source, parse = 'WORDS = f"{1:<{2}} and {3}"\n', ast.parse
    usual = read_module(source).definitions["WORDS"].digest

    def parse_as_others_do(text: str) -> ast.Module:
        tree = parse(text)
        for node in [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]:
            node.values = [v for v in node.values if getattr(v, "value", None) != ""] + [ast.Constant("")]
        return tree

    monkeypatch.setattr(ast, "parse", parse_as_others_do)
    assert read_module(source).definitions["WORDS"].digest == usual
    assert read_module(source.replace("and", "or")).definitions["WORDS"].digest != usual


def test_the_digest_of_a_step_does_not_depend_on_where_its_files_lie() -> None:
    sources = {
        "__init__.py": "",
        "steps/__init__.py": "",
        "steps/split.py": "from agar_pipeline.one import draw\ndef build():\n    return draw()\n",
        "one.py": "def draw():\n    return 1\n",
    }
    moved = {path: text.replace("agar_pipeline.one", "agar_pipeline.two") for path, text in sources.items()}
    moved["two.py"] = moved.pop("one.py")
    other = {**moved, "two.py": "def draw():\n    return 2\n"}
    digests = [reach_of(Package(each), "split")["digest"] for each in (sources, moved, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", [name for name, row in DETECTORS.items() if row.backbone])
def test_files_of_weights_are_those_that_torchvision_downloads(name: str) -> None:
    weights = torchvision.models.get_model_weights(name)
    of_backbone = torchvision.models.get_model_weights(DETECTORS[name].backbone)
    assert {word: weights_file(name, word) for word in weights_of(name)} == {
        word: weights[word].url.rpartition("/")[2] for word in weights_of(name)
    }
    assert {word: weights_file(name, word, of_backbone=True) for word in backbone_weights_of(name)} == {
        word: of_backbone[word].url.rpartition("/")[2] for word in backbone_weights_of(name)
    }


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_precision_is_foreseen_as_torch_resolves_it(precision: str) -> None:
    assert expected_precision(precision, "cpu") == resolve_precision(precision, "cpu")


def test_another_precision_or_other_weights_are_told() -> None:
    recorded = {"device": "cpu", "precision": "32-true", "weights": {"backbone DEFAULT": "a" * 64}}
    here = {"device": "cpu", "precision": "bf16-mixed", "weights": {"backbone DEFAULT": "b" * 64}}
    assert machine_differences(recorded, here) == [
        "made in 32-true on cpu, this machine would compute in bf16-mixed",
        f"weights of the backbone DEFAULT were replaced: {'a' * 12} → {'b' * 12}",
    ]
    assert machine_differences(recorded, {**recorded, "device": "cuda"}) == []  # a device alone is no difference
    assert machine_differences(recorded, {**here, "precision": None, "weights": {}}) == []  # nobody can tell
    assert machine_differences({}, here) == []  # an artifact of an earlier version
