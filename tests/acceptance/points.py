"""Kinds of trouble with files and settings of others: what must hold, and the tests that hold it.

Here: the list. Not here: how it is counted (`files_of_others`).
"""

from __future__ import annotations

from typing import NamedTuple

FIFTYONE = "tests/fiftyone_io"
FILES = f"{FIFTYONE}/annotation_files"
TOOLS = f"{FILES}/test_tool_exports.py"
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


LABELS, READINGS = "tests/config/test_class_names.py", f"{FILES}/test_import_readings.py"
FORMATS, LISTING = f"{FILES}/test_import_formats.py", f"{FILES}/test_photo_listing.py"
INSPECT, PREDICT = "tests/commands/test_inspect_coco.py", "tests/commands/test_evaluate_predict.py"
SLIPS, PIXELS = "tests/labels/test_misread_boxes.py", "tests/photos/test_eight_bits.py"
STEPS, CONFIGS = "tests/steps/test_data_steps.py", "tests/config/test_configs.py"
COCO, SURROUNDINGS = "tests/snapshots/test_coco_folder.py", "tests/test_surroundings.py"
LETTERS: dict[str, Point] = {
    "A": Point(
        "labels of different classes are not merged, and every merge is said",
        (
            f"{LABELS}::test_what_is_more_than_spelling_stays_apart",
            f"{LABELS}::test_a_spelling_means_its_class_where_it_is_the_only_one",
            f"{FORMATS}::test_classes_that_are_not_in_the_map_are_not_merged_and_merges_are_counted",
            f"{STEPS}::test_labels_that_only_look_alike_keep_their_classes_over_all_blocks",
            "tests/commands/test_export_coco.py::test_signs_are_no_spelling_and_unlabelled_plates_are_no_empty_ones",
        ),
        silent=True,
    ),
    "B": Point(
        "what nobody has labelled is not taken for empty",
        (
            f"{FORMATS}::test_a_photo_that_nobody_has_labelled_is_no_empty_plate",
            f"{FIFTYONE}/reading/test_read.py::test_without_labels_is_another_thing_than_without_boxes",
            f"{STEPS}::test_what_nobody_has_labelled_is_never_taken_for_empty_unasked",
            f"{INSPECT}::test_an_image_that_a_tool_marks_as_not_done_is_no_empty_plate",
            f"{COCO}::test_an_image_that_a_tool_marks_as_not_done_is_not_labelled",
        ),
        silent=True,
    ),
    "C": Point(
        "corners for sizes, shares for pixels, another scale, axes or origin fail, with the likely cause",
        (
            f"{SLIPS}::test_a_slip_fails_and_its_convention_is_named",
            f"{SLIPS}::test_a_slip_in_one_part_of_the_pictures_is_named_too",
            f"{SLIPS}::test_right_boxes_and_a_few_bad_ones_pass",
            f"{SLIPS}::test_predictions_in_another_convention_are_explained",
        ),
        silent=True,
    ),
    "D": Point(
        "YOLO's keypoints are not read as polygons, and a row that fits two readings as neither",
        (
            f"{READINGS}::test_keypoints_that_are_declared_leave_the_box",
            f"{READINGS}::test_polygons_become_the_boxes_around_them",
            f"{READINGS}::test_a_row_that_fits_no_reading_or_two_is_refused",
            f"{FIFTYONE}/importing/test_import_ways.py::test_yolo_written_in_any_way",
        ),
        silent=True,
    ),
    "E": Point(
        "pixels of 10 to 32 bits, pages of a TIFF, photos nearly black",
        (
            f"{PIXELS}::test_a_ramp_from_black_to_white_is_one_everywhere",
            f"{PIXELS}::test_what_has_no_known_range_is_refused_with_what_to_do",
            f"{PIXELS}::test_pages_bits_and_nothing_to_be_seen_are_said",
        ),
        silent=True,
    ),
    "F": Point(
        "all that looks like a photo is read or named",
        (
            f"{LISTING}::test_photos_of_every_suffix_are_read_or_named",
            f"{LISTING}::test_heic_is_read_like_any_photo",
            f"{PREDICT}::test_photos_that_cannot_be_read_are_named_and_the_rest_is_done",
        ),
        silent=True,
    ),
    "G": Point(
        "boxes that cannot be placed refuse their file, with the value and its type",
        (
            f"{READINGS}::test_boxes_that_cannot_be_placed_refuse_the_file_in_one_line",
            f"{READINGS}::test_a_list_of_boxes_under_another_name_makes_no_empty_plate",
            f"{FIFTYONE}/importing/test_import_ways.py::test_coco_written_in_any_way",
        ),
        silent=True,
    ),
    "H": Point(
        "names that nobody sees are no classes",
        (
            f"{LABELS}::test_a_name_that_nobody_sees_is_no_class",
            f"{FORMATS}::test_a_name_that_nobody_sees_becomes_no_class",
            f"{INSPECT}::test_a_category_that_nobody_can_name_is_refused",
        ),
        silent=True,
    ),
    "I": Point(
        "an XML file that names another photo",
        (
            f"{READINGS}::test_an_xml_file_that_names_another_photo_which_is_there_is_refused",
            f"{READINGS}::test_an_xml_file_that_names_the_photo_of_another_folder_is_refused",
        ),
        silent=True,
    ),
    "J": Point(
        "any sign in AGAR_HOME, and warnings that a shell makes errors",
        (
            "tests/test_one_home.py::test_plain_dagster_writes_artifacts_and_history_into_the_home_that_is_named",
            "tests/config/test_config_fuzz.py::test_a_home_of_any_name",
            f"{SURROUNDINGS}::test_warnings_are_no_errors_whatever_the_shell_says",
        ),
        silent=True,
    ),
    "K": Point(
        "names with other slashes, %20 or a folder too many",
        (
            f"{READINGS}::test_names_that_lead_nowhere_say_which_spelling_fits",
            f"{READINGS}::test_absolute_names_of_coco_are_refused_with_what_would_fit",
        ),
    ),
    "L": Point(
        "photos that EXIF turns", (f"{READINGS}::test_turned_photos_are_told_in_the_words_of_a_snapshot",), silent=True
    ),
    "M": Point(
        "a folder and a file for each part, a root category, category 0",
        (
            f"{READINGS}::test_roboflow_with_a_file_in_each_part_s_folder",
            f"{READINGS}::test_the_layout_of_coco_itself",
            f"{COCO}::test_a_folder_for_each_part_with_its_file_in_it",
            f"{TOOLS}::test_a_coco_export_says_the_same_to_every_reader[Roboflow ",
        ),
    ),
    "N": Point(
        "iscrowd everywhere",
        (
            f"{INSPECT}::test_boxes_that_are_all_regions_of_many_are_no_boxes",
            f"{FORMATS}::test_boxes_that_are_regions_are_counted",
        ),
    ),
    "O": Point(
        "photos that are missing are not counted as decoded",
        (f"{INSPECT}::test_files_that_are_missing_are_not_counted_as_opened",),
    ),
    "P": Point(
        "hidden files and folders",
        (
            f"{LISTING}::test_hidden_files_and_folders_are_passed_over_with_one_note",
            f"{LISTING}::test_a_coco_file_beside_its_own_shadow_is_found",
        ),
    ),
    "Q": Point(
        "where a bad value comes from",
        (
            f"{CONFIGS}::test_a_bad_value_is_told_with_what_set_it",
            f"{FIFTYONE}/database/test_connection.py::test_a_wrong_address_is_told_with_what_says_it",
        ),
    ),
    "R": Point(
        "YAML that is none, and values that YAML takes for another kind",
        (
            f"{CONFIGS}::test_what_is_no_yaml_is_told_by_its_problem_and_its_place",
            f"{CONFIGS}::test_a_value_that_yaml_takes_for_another_kind_wants_quotes",
            "tests/config/test_config_fuzz.py::test_a_pipeline_file_as_editors_of_others_save_it",
            f"{READINGS}::test_a_data_yaml_that_is_no_yaml_is_told_by_its_place",
        ),
    ),
    "S": Point(
        "a full disk, another user's home, no HOME, WORLD_SIZE left in the shell",
        (
            f"{SURROUNDINGS}::test_storage_trouble_in_any_library_is_told_with_the_next_step",
            f"{SURROUNDINGS}::test_a_full_disk_is_told_of_and_ends_no_process",
            f"{SURROUNDINGS}::test_a_home_of_another_user_is_told_with_its_owner",
            f"{SURROUNDINGS}::test_what_a_shell_was_left_with_does_not_reach_children",
            f"{SURROUNDINGS}::test_a_user_without_a_folder_is_told_what_to_set",
        ),
    ),
    "T": Point(
        "byte order marks, UTF-16 and ids that are texts, to every reader",
        (
            f"{READINGS}::test_every_reader_takes_every_encoding",
            f"{READINGS}::test_xml_in_the_encoding_that_it_declares",
            f"{READINGS}::test_text_in_an_encoding_that_cannot_be_told_is_refused_with_the_byte",
            f"{READINGS}::test_text_ids_mean_the_same_to_every_reader",
        ),
        silent=True,
    ),
    "U": Point(
        "categories are matched by name where a model or predictions meet a file",
        (
            f"{PREDICT}::test_a_model_meets_a_file_by_the_names_of_the_classes",
            f"{PREDICT}::test_predictions_with_names_are_matched_by_names",
        ),
        silent=True,
    ),
    "V": Point(
        "a next step is one that works",
        (
            f"{LABELS}::test_the_next_step_of_an_import_works_when_it_is_pasted",
            f"{SURROUNDINGS}::test_a_proposed_pipeline_is_one_that_can_be_written",
            f"{SURROUNDINGS}::test_a_proposed_command_is_one_a_shell_reads",
        ),
    ),
    "corners": Point(
        "corners in reverse order, and objects that are none",
        (
            f"{READINGS}::test_an_object_that_is_none_is_named",
            f"{FIFTYONE}/importing/test_import_ways.py::test_voc_written_in_any_way",
        ),
        silent=True,
    ),
    "parts": Point(
        "the parts that YOLO's and VOC's lists give",
        (
            f"{READINGS}::test_parts_that_yolo_files_give_become_tags",
            f"{READINGS}::test_parts_by_the_names_of_folders_and_contradictions",
            f"{READINGS}::test_parts_of_voc",
            "tests/splitting/test_division.py::test_lists_of_other_machines_name_images_by_the_ends_of_their_paths",
        ),
        silent=True,
    ),
}
"""By the letters of the list that they come from; what it adds without one is called by a word."""
POINTS: dict[str, Point] = {
    **LETTERS,
    **{name: tool(name) for name in ("CVAT", "Label Studio", "Roboflow", "VIA", "VoTT", "Supervisely", "makesense")},
    **{name: tool(name) for name in ("Darwin (V7)", "FiftyOne")},
    "labelme": Point("what labelme saves", (f"{READ}[labelme ",), silent=True),
}
