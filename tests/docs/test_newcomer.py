"""README to the letter in a fresh clone; then the commands of its tables, and the example of each `--help`."""

from __future__ import annotations

import re
import shutil

import pytest

from agar_pipeline.commands import agar
from agar_pipeline.plates.generate import generate_plates
from docs.generate import commands_of
from tests.conftest import edit_samples
from tests.docs.pages import PAGES, Reader, commands, swap
from tests.fiftyone_io.annotation_files.test_import_formats import MAKERS
from tests.fiftyone_io.annotation_files.tool_exports import labelme

ONE_FILE = "PYTEST_ADDOPTS=tests/plates/test_plates.py make test WORKERS=0"
LETTERS = {
    "experiment=E": "experiment=mine",
    "--experiment E": "--experiment mine",
    "E/evaluation": "mine/evaluation",
    "E/label_review": "mine/label_review",
    "--checkpoint C": "--checkpoint best.ckpt",
    "--json F": "--json val.json",
    "--images-dir D": "--images-dir photos",
    "--out-dir O": "--out-dir scores",
    "--dataset N --out-dir D": "--dataset plates --out-dir exported",
    "devices=N": "devices=2",
    "--devices N": "--devices 2",
    "FINGERPRINT": "previous",
    "NAME": "plates_of_old",
    "--unlabelled photos/": "--unlabelled new_photos --no-app",
}
"""What a table writes for something of the reader's → what the newcomer has."""


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    reader = Reader(tmp_path_factory.mktemp("newcomer"))
    edits = "s/0.2/0.25/;s/0.8/0.75/;s/180/10/"  # another split, and seconds of training in place of minutes
    reader.env["EDITOR"] = f"sed -i {edits} configs/experiment/mine.yaml"
    quick = [
        "sed -i 's/max_seconds: 50/max_seconds: 5/' configs/experiment/demo.yaml",
        "sed -i 's/folds: 5/folds: 2/' configs/config.yaml",
    ]
    reader.type([*quick, *commands("README.md")[1:]], {"make test": ONE_FILE})  # the first made the clone
    reader.activate("mine")
    reader.name_what_will_be_made("mine")
    edit_samples(reader.clone / ".agar", "plates", lambda samples: samples.update_one({}, {"$set": {"tags": ["seen"]}}))
    reader.type(["agar run snapshot"])  # and there is a previous one
    for format, make in MAKERS.items():
        make(reader.clone / f"photos_{format}")
    labelme(reader.clone / "photos_labelme")
    generate_plates(reader.clone / "new_photos", 3, size_px=128, seed=6)
    return reader


def evaluations(reader: Reader) -> list[str]:
    """That of the newcomer's plates, then the demo's."""
    artifacts = reader.clone / ".agar" / "artifacts"
    return [(artifacts / name / "evaluation" / "latest").resolve().name for name in ("mine", "demo")]


def test_the_readme_leads_to_two_detectors(newcomer: Reader) -> None:
    for name, fingerprint in zip(("mine", "demo"), evaluations(newcomer), strict=True):
        assert (newcomer.clone / ".agar/artifacts" / name / "evaluation" / fingerprint / "report.html").exists()


def commands_in_tables(page: str) -> list[str]:
    rows = [line for line in PAGES[page].read_text().splitlines() if line.startswith("|")]
    return [command for row in rows for command in re.findall(r"`(agar [^`]*)`", row)]


def examples() -> list[str]:
    """What reads, then what adds to the dataset, then what removes."""
    found = {command.epilog.removeprefix("Example: ") for _, command in commands_of(agar, ("agar",)) if command.epilog}
    return sorted(found - {"agar demo"}, key=lambda text: ("clean" in text, "import" in text, text))


def test_how_to_contribute(newcomer: Reader) -> None:
    a_case = "PYTEST_ADDOPTS='-k not_doubted' make acceptance"
    swaps = {"make test": ONE_FILE, "make acceptance": a_case, "NAME=predict": "NAME=box_rules"}  # far above its aim
    newcomer.follow("docs/contributing.md", swaps, until="## Release")


@pytest.mark.timeout(1200)
def test_tables_release_and_examples_in_this_order(newcomer: Reader, subtests: pytest.Subtests) -> None:
    """Examples come last: they import other photos into the dataset, and remove what the tables name.

    What was typed already is not typed again.
    """
    letters = LETTERS | {"A B": " ".join(evaluations(newcomer))}
    tables = [*commands_in_tables("README.md"), *commands_in_tables("docs/migration.md")]
    typed = dict.fromkeys(swap(command, letters) for command in tables)
    for command in typed:
        with subtests.test(command):
            newcomer.type([command])
    with subtests.test("how to release"):
        if shutil.which("chromium") is None:
            pytest.skip("no Chromium is here to take the pictures")
        before = commands("docs/contributing.md", until="## Release")
        newcomer.type([*commands("docs/contributing.md")[len(before) :], "agar run"])  # back from the demo's plates
    formats = {
        f"{format} --images-dir photos": f"{format} --images-dir photos_{format}" for format in (*MAKERS, "labelme")
    }
    shorter = {
        "max_seconds=30": "max_seconds=3",
        "--experiment demo": "--experiment mine",
        "cross-validate experiment=demo": "cross-validate experiment=mine",
        "demo baseline": " ".join(evaluations(newcomer)),
    }
    for command in [swap(example, formats | shorter) for example in examples()]:
        if command not in typed:
            with subtests.test(command):
                newcomer.type([command])


def test_how_to_add_a_rule(newcomer: Reader) -> None:
    newcomer.follow("docs/how-to/add-a-rule.md")


def test_how_it_scales(newcomer: Reader) -> None:
    newcomer.follow("docs/explanation/scale.md", {"10000,100000,1000000": "50"})
