"""Every error that a user can meet says what to do next, and the index of errors is made from the code."""

from __future__ import annotations

import pickle

from agar_pipeline import errors
from agar_pipeline.errors import ConfigError, from_fields
from docs.error_index import USAGE, built_errors, describe_errors, error_classes

WITHOUT_NEXT_STEP = {
    "DatasetMovedError": "is caught, and the dataset is read again",
    "StoppedError": "the message says how to go on",
    USAGE: "click's error prints the usage above its message",
}
"""Classes whose errors need no next step, with the reason."""


def test_every_error_that_words_a_message_has_a_next_step() -> None:
    lacking = [
        f"{built.place}: {built.message}"
        for built in built_errors()
        if built.has_words and not built.next_step and built.kind not in WITHOUT_NEXT_STEP
    ]
    assert not lacking, "give these errors a next_step=:\n" + "\n".join(lacking)


def test_the_index_has_every_class_with_its_exit_code_and_every_message() -> None:
    page = "\n".join(describe_errors())
    for name, kind in error_classes().items():
        if any(built.kind == name and built.has_words for built in built_errors()):
            assert f"## {name}\n" in page
            assert f"Exit code {kind.exit_code}." in page.partition(f"## {name}\n")[2].partition("\n##")[0]
    assert "| the package … is not installed | …pip install … |" in page


def test_an_error_is_the_same_in_another_process() -> None:
    error = ConfigError("must be 1 or more", where="trainer.devices", value=0, next_step="give 1\nor auto")
    for copy in (from_fields(error.fields), pickle.loads(pickle.dumps(error))):
        assert (type(copy), str(copy), copy.fields) == (ConfigError, str(error), error.fields)
    assert error.problem == "trainer.devices=0 must be 1 or more"
    assert error.in_one_line == "trainer.devices=0 must be 1 or more: give 1 or auto"


def test_no_field_of_an_error_shows_a_password_or_a_control_character() -> None:
    secret = "mongodb://me:hunter2@host/\x1b[31m"
    error = errors.DatabaseError(f"at {secret}", where=secret, value=secret, next_step=secret)
    assert "hunter2" not in f"{error}{error.fields}{error.in_one_line}"
    assert "\x1b" not in f"{error}{error.fields['where']}"
