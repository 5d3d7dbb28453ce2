"""The lab that the cases share, and the grade of each case in its report."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Generator, Iterator

import pytest

from tests.acceptance.grading import SilentlyWrong, Unclear, case_of
from tests.acceptance.lab import Lab, LabTemplates

if threading.current_thread() is threading.main_thread():  # a shell's background jobs ignore Ctrl-C, as would children
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabTemplates]:
    folder = tmp_path_factory.mktemp("labs")
    templates = LabTemplates(folder)
    yield templates
    templates.remove()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def lab(labs: LabTemplates) -> Iterator[Lab]:
    """Forty plates, the data assets built. A case leaves it as it found it, artifacts apart."""
    yield labs.built()
    labs.remove()


@pytest.fixture(scope="module")
def trained(labs: LabTemplates, lab: Lab) -> Lab:
    """The same, with a training of three steps, evaluated."""
    found = labs.trained()
    lab.versions, lab.training_seconds = found.versions, found.training_seconds
    return lab


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    number = case_of(item.name)
    if number is not None and (report.when == "call" or not report.passed):
        error = call.excinfo.value if call.excinfo else None
        grade = 1.0 if report.passed else -1.0 if isinstance(error, SilentlyWrong) else 0.5 * isinstance(error, Unclear)
        reason = "" if report.passed else (str(error).splitlines() or [type(error).__name__])[0]
        report.user_properties.append(("case", (number, grade, reason)))
    return report
