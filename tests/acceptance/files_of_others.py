"""Files and settings of others: a point each, held by tests of the ordinary suite, which `make acceptance` runs too.

Beside the cases, with a score of its own: what labs bring is read right, or refused with the reason.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

FIFTYONE = "tests/fiftyone_io"
TOOLS = f"{FIFTYONE}/test_tool_exports.py"
READINGS = f"{FIFTYONE}/test_import_readings.py"
MISREAD = "tests/detection/test_misread_boxes.py"
READ = f"{TOOLS}::test_what_a_tool_exports_is_read_as_it_was_drawn"
REFUSED = f"{TOOLS}::test_a_tools_own_format_is_refused_by_its_name_with_what_to_export"


class Point(NamedTuple):
    """One kind of trouble."""

    claim: str
    tests: tuple[str, ...]
    """Node ids, or the beginning of those of a parametrized test."""
    silent: bool = False
    """Whether a test that fails means a wrong answer without a word: it costs the point, and as much again."""


def tool(name: str) -> Point:
    return Point(f"what {name} exports", (f"{READ}[{name} ", f"{REFUSED}[{name} "), silent=True)


POINTS: dict[str, Point] = {
    **{name: tool(name) for name in ("CVAT", "Label Studio", "Roboflow", "VIA", "VoTT", "Supervisely", "makesense")},
    **{name: tool(name) for name in ("Darwin (V7)", "FiftyOne")},
    "labelme": Point("what labelme saves", (f"{READ}[labelme ",), silent=True),
    "C": Point(
        "boxes in another convention fail, and it is named",
        (
            f"{MISREAD}::test_a_slip_fails_and_its_convention_is_named",
            f"{MISREAD}::test_right_boxes_and_a_few_bad_ones_pass",
            f"{MISREAD}::test_predictions_in_another_convention_are_explained",
        ),
        silent=True,
    ),
    "D": Point(
        "YOLO's keypoints and polygons are told apart",
        (
            f"{READINGS}::test_keypoints_that_are_declared_leave_the_box",
            f"{READINGS}::test_polygons_become_the_boxes_around_them",
            f"{READINGS}::test_a_row_that_fits_no_reading_or_two_is_refused",
        ),
        silent=True,
    ),
    "G": Point(
        "boxes that cannot be placed make no empty plates",
        (
            f"{READINGS}::test_boxes_that_cannot_be_placed_refuse_the_file_in_one_line",
            f"{READINGS}::test_a_list_of_boxes_under_another_name_makes_no_empty_plate",
        ),
        silent=True,
    ),
    "I": Point(
        "VOC's <filename> names another photo",
        (
            f"{READINGS}::test_an_xml_file_that_names_another_photo_which_is_there_is_refused",
            f"{READINGS}::test_an_xml_file_that_names_the_photo_of_another_folder_is_refused",
        ),
        silent=True,
    ),
    "K": Point(
        "names that lead nowhere say which spelling fits",
        (
            f"{READINGS}::test_names_that_lead_nowhere_say_which_spelling_fits",
            f"{READINGS}::test_absolute_names_of_coco_are_refused_with_what_would_fit",
        ),
    ),
    "L": Point(
        "photos that EXIF turns", (f"{READINGS}::test_turned_photos_are_told_in_the_words_of_a_snapshot",), silent=True
    ),
    "M": Point(
        "Roboflow's folders and root category",
        (
            f"{READINGS}::test_roboflow_with_a_file_in_each_part_s_folder",
            "tests/test_coco_folder.py::test_a_folder_for_each_part_with_its_file_in_it",
        ),
    ),
    "T": Point(
        "every encoding and text ids, by every reader",
        (
            f"{READINGS}::test_every_reader_takes_every_encoding",
            f"{READINGS}::test_text_in_an_encoding_that_cannot_be_told_is_refused_with_the_byte",
            f"{READINGS}::test_text_ids_mean_the_same_to_every_reader",
        ),
        silent=True,
    ),
    "parts": Point(
        "the parts that YOLO, VOC and lists name",
        (
            f"{READINGS}::test_parts_that_yolo_files_give_become_tags",
            f"{READINGS}::test_parts_by_the_names_of_folders_and_contradictions",
            f"{READINGS}::test_parts_of_voc",
            "tests/splitting/test_division.py::test_lists_of_other_machines_name_images_by_the_ends_of_their_paths",
        ),
        silent=True,
    ),
    "objects": Point("VOC's objects that are none", (f"{READINGS}::test_an_object_that_is_none_is_named",)),
}


def files_to_run(already: tuple[str, ...]) -> list[str]:
    """The tests of the points, without those of files that run anyway."""
    names = {name.partition("[")[0] for point in POINTS.values() for name in point.tests}
    return sorted(name for name in names if not name.startswith((*already, "tests/acceptance/")))


class PointsBoard:
    """Collects what became of the tests of each point."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        """Node id → empty where it passed, else the reason why not."""
        self.all_asked_for = True

    def pytest_configure(self, config: pytest.Config) -> None:
        self.all_asked_for = not config.option.keyword

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.when == "call" and report.passed):
            lines = str(report.longrepr).splitlines() if report.failed else [""]
            self.outcomes[report.nodeid] = next((line for line in reversed(lines) if line.strip()), "")

    def grades(self) -> dict[str, tuple[int, str]]:
        """Name of a point → 1, 0 or −1, and why; with `-k` only those of which a test ran."""
        found = {name: self._grade(point) for name, point in POINTS.items()}
        return {name: grade for name, grade in found.items() if self.all_asked_for or grade[1] != "not run"}

    def _grade(self, point: Point) -> tuple[int, str]:
        of_tests = [[why for node, why in self.outcomes.items() if _is_of(node, name)] for name in point.tests]
        wrong = [why for reasons in of_tests for why in reasons if why]
        if wrong:
            return -1 if point.silent else 0, wrong[0]
        return (1, "") if all(of_tests) else (0, "not run")


def _is_of(node: str, name: str) -> bool:
    return node.startswith(name) if "[" in name else node.partition("[")[0] == name
