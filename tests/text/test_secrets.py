"""Whatever the password, and wherever it stands: what may be shown does not hold it."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agar_pipeline.errors import ConfigError
from agar_pipeline.text.secrets import HIDDEN, has_secret, mask, mask_plain

PASSWORDS = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs", "Co"]), min_size=1).map(
    lambda text: f"q{text}Z"
)
"""One line; framed, so that it cannot be found by chance in the words around it."""
ADDRESSES = st.sampled_from(
    [
        "mongodb://lab:{}@db.lab:27017/plates",
        "mongodb+srv://lab:{}@db.lab/?retryWrites=true",
        "postgresql+psycopg2://lab:{}@db.lab/dagster",
        "s3://AKIA7:{}@bucket/agar",
        "https://lab:{}@store.lab:9000/",
        "https://{}@store.lab",
        "mongodb://h1,h2:27018/?authSource=admin&tlsCertificateKeyFilePassword={}",
        "postgresql://db.lab/dagster?user=lab&password={}",
        "https://store.lab/object?X-Amz-Security-Token={}",
        "https://store.lab/object?pass={}",
        "host=db.lab user=lab password={}",
        "host=db.lab password = '{}' dbname=dagster",
        "aws_secret_access_key={}",
        '{{"password": "{}"}}',
    ]
)
PLACES = st.sampled_from(
    [
        "{}",
        "the database at {} cannot be reached (connection refused): start mongod there",
        "cannot copy s3://bucket/agar to {}, trying again",
        "see https://docs.lab:8000/page, then {}",
        "MongoClient('{}', retryReads=False)",
        'File "x.py", line 3\n    connect("{}")\nValueError: {}',
    ]
)


@given(PASSWORDS, ADDRESSES, PLACES)
@example("qp@ssZ", "mongodb://lab:{}@db.lab", "{}")
@example("qpa/ssZ", "mongodb://lab:{}@db.lab", "{}")
@example("q1 mongodb://x:2@y?z#Z", "mongodb://lab:{}@db.lab", "at {} and on")
@example("q' \"Z", "postgresql://db.lab/dagster?user=lab&password={}", "at {} and on")
def test_no_password_is_seen(password: str, address: str, place: str) -> None:
    for written in (password, quote(password), quote(password, safe="")):
        text = place.replace("{}", address.format(written))
        assert written not in mask(text)
        assert written not in str(ConfigError(text))
        assert has_secret(text) or "https://{}@" in address
        assert mask(mask(text)) == mask(text)
        assert json.dumps(written)[1:-1] not in mask(json.dumps({"config": text}))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mongodb://me:secret@127.0.0.1:1/?authSource=admin", "mongodb://127.0.0.1:1"),
        (
            "from s3://bucket/agar to mongodb://me:p@h:27017 it goes",
            "from s3://bucket/agar to mongodb://h:27017 it goes",
        ),
        ("mongodb://me:secret", "mongodb://…"),
        ("mongodb://h1:1,h2:2,[::1]:27017/db", "mongodb://h1:1,h2:2,[::1]:27017/db"),
        ("mongodb://%2Ftmp%2Fm.sock/?directConnection=true", "mongodb://%2Ftmp%2Fm.sock"),
        ("look at http://127.0.0.1:3000.", "look at http://127.0.0.1:3000."),
        ("file:///photos/a@b.jpg", "file:///photos/a@b.jpg"),
        ("put it into mongodb://USER:PASSWORD@HOST:PORT", "put it into mongodb://USER:PASSWORD@HOST:PORT"),
        ("write mongodb://HOST:PORT", "write mongodb://HOST:PORT"),
        ("wants a password: give one; tokens: 3, experiment=E [key=value…]",) * 2,
        ("plate p@ssed.jpg",) * 2,
        ("view field:pass=yes holds 0 samples",) * 2,
    ],
)
def test_what_is_left_can_be_read(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_plain_values_are_masked_by_key_and_by_content() -> None:
    plain = {"database": "mongodb://u:p@h", "aws": {"secret_key": "abc", "region": "eu"}, "n": [1, "s3://k:s@b", None]}
    assert mask_plain(plain) == {
        "database": "mongodb://h",
        "aws": {"secret_key": HIDDEN, "region": "eu"},
        "n": [1, "s3://b", None],
    }
    assert not has_secret("mongodb://reader@db.lab:27017")
