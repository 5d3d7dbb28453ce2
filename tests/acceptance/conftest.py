"""The lab that the cases share, and the grade of each case in its report."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Generator, Iterator

import pytest

from tests.acceptance.grading import SilentlyWrong, Unclear, case_of
from tests.acceptance.lab import TRAINING_ASSETS, Lab, make_lab

if threading.current_thread() is threading.main_thread():  # a shell's background jobs ignore Ctrl-C, as would children
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Forty plates, the data assets built. A case leaves it as it found it, artifacts apart."""
    folder = tmp_path_factory.mktemp("lab")
    yield make_lab(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def trained(lab: Lab) -> Lab:
    """The same, with a training of three steps, evaluated."""
    for asset in TRAINING_ASSETS:
        started = time.monotonic()
        lab.run("run", asset)
        lab.training_seconds[asset] = time.monotonic() - started
    lab.run("run")
    lab.versions |= lab.read_versions(TRAINING_ASSETS)
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
