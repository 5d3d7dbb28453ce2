"""A database of the user's that an older or newer FiftyOne left: never migrated, unless somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pymongo
import pytest

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatabaseError
from agar_pipeline.fiftyone_io.database.revision import is_compatible
from agar_pipeline.fiftyone_io.reading.observe import observe_dataset
from tests.fiftyone_io.database.theirs import OURS, Theirs, their_database


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    with their_database(tmp_path_factory.mktemp("theirs")) as database:
        yield database


COMMANDS: dict[str, Callable[[Theirs], tuple[str, ...]]] = {
    "an import without FiftyOne's parsers": lambda it: (
        *("import", "agar", "--images-dir", str(it.photos), "--dataset", "theirs", "--database", it.uri),
    ),
    "an import with them": lambda it: (
        *("import", "coco", "--images-dir", str(it.photos), "--dataset", "theirs", "--database", it.uri),
        *("--annotations", str(it.photos.parent / "coco.json")),
    ),
}


@pytest.mark.parametrize(
    ("database", "datasets", "named"),
    [
        pytest.param("0.18.0", {"theirs": "0.18.0"}, "is of FiftyOne 0.18.0, so that FiftyOne", id="both are too old"),
        pytest.param(
            OURS, {"theirs": "0.17.2"}, f"{OURS} (its dataset of 0.17.2), so that ", id="the dataset alone is"
        ),
        pytest.param(None, {}, "left no version in it", id="no version is recorded"),
        pytest.param("3.0.0", {}, "is of FiftyOne 3.0.0", id="the database is too new"),
    ],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_what_would_have_to_be_migrated_is_refused_and_left_byte_for_byte(
    theirs: Theirs, name: str, database: str | None, datasets: dict[str, str], named: str
) -> None:
    before = theirs.says(database, datasets)
    done = theirs.run("agar", *COMMANDS[name](theirs))
    assert done.returncode == 1
    assert named in done.stderr
    assert OURS in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr
    assert ("--migrate-database" in done.stderr) == (database != "3.0.0")
    assert theirs.dump() == before


@pytest.mark.parametrize("version", ["0.19.0", "1.99.0"], ids=["an older one", "a newer one"])
def test_a_compatible_version_is_used_as_it_is(theirs: Theirs, version: str) -> None:
    theirs.says(version, {"theirs": version, "other": version})
    before = theirs.dump()
    for name in COMMANDS:
        done = theirs.run("agar", *COMMANDS[name](theirs))
        assert done.returncode == 0, done.stderr
        assert ("uses it without migrating it" in done.stderr) == (version == "0.19.0")
    assert theirs.versions() == {"": version, "theirs": version, "other": version}
    after = theirs.dump()
    assert after["config"] == before["config"]
    assert after["views"] == before["views"]


def test_reading_an_older_database_leaves_it_byte_for_byte(theirs: Theirs, tmp_path: Path) -> None:
    home = tmp_path / "home"  # where nothing was done yet
    config = SnapshotConfig(dataset="other", database=theirs.uri, view="saved:all")
    before = theirs.says("0.19.0", {"other": "0.19.0"})
    assert observe_dataset(config, home).samples == 1
    assert theirs.dump() == before
    before = theirs.says("0.18.0", {"other": "0.18.0"})
    with pytest.raises(DatabaseError, match=rf"is of FiftyOne 0\.18\.0, so that FiftyOne {OURS} here would have to"):
        observe_dataset(config, home)
    assert theirs.dump() == before


def test_asked_in_words_it_is_migrated_after_saying_so(theirs: Theirs) -> None:
    theirs.says("0.18.0", {"theirs": "0.18.0", "other": "0.18.0"})
    done = theirs.run("agar", *COMMANDS["an import with them"](theirs), "--migrate-database")
    assert done.returncode == 0, done.stderr
    assert f"from FiftyOne 0.18.0 to {OURS}; FiftyOne of older versions may refuse it" in done.stderr
    assert theirs.versions() == {"": OURS, "theirs": OURS, "other": "0.18.0"}, "no other dataset is touched"
    theirs.says("0.18.0", {})
    done = theirs.run(
        "agar", *COMMANDS["an import with them"](theirs), "--migrate-database", FIFTYONE_DATABASE_ADMIN="false"
    )
    assert (done.returncode, "set up not to migrate" in done.stderr) == (1, True), done.stderr


def test_an_empty_database_of_the_users_is_set_up(theirs: Theirs) -> None:
    words = COMMANDS["an import without FiftyOne's parsers"](theirs)
    done = theirs.run("agar", *words, FIFTYONE_DATABASE_NAME="fresh")
    assert done.returncode == 0, done.stderr
    assert "migrat" not in done.stderr
    with theirs.client as client:
        record = client["fresh"].config.find_one({})
        assert record is not None
        assert record["version"] == OURS


def test_the_embedded_database_is_ours_and_its_migration_is_said(theirs: Theirs) -> None:
    from agar_pipeline.fiftyone_io.database.connection import open_database

    words = ("import", "agar", "--images-dir", str(theirs.photos), "--dataset", "own", "--database", "embedded")
    assert theirs.run("agar", *words).returncode == 0
    with open_database("embedded", theirs.home) as uri, pymongo.MongoClient(uri) as client:
        client["fiftyone"].config.update_one({}, {"$set": {"version": "0.18.0"}})
    done = theirs.run("agar", *words)
    assert done.returncode == 0, done.stderr
    assert f"migrating the embedded database from FiftyOne 0.18.0 (its dataset of {OURS}) to {OURS}" in done.stderr
    assert "older checkouts" in done.stderr
    assert "migrat" not in theirs.run("agar", *words).stderr


def test_versions_are_read_as_fiftyone_reads_them() -> None:
    assert [is_compatible(version) for version in (OURS, "0.19", "0.18.9", "2.0", "1.0.0rc1", None, "odd")] == [
        *(True, True, False, False, True, False, False),
    ]
