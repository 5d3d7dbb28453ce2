"""The sheet of plates: what spreadsheets export is read, and what can be read in two ways is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agar_pipeline.counting.sheet import read_sheet
from agar_pipeline.errors import SheetError

HEADER = "photo,sample,dilution,volume_ml"
GOOD = f"{HEADER}\na.jpg,milk,1e-2,0.1\nsub/b.jpg,milk,1e-3,0.1\n"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    for name in ("a.jpg", "sub/b.jpg", "c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def sheet(lab: Path, content: str | bytes) -> Path:
    path = lab / "plates.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace(",", "\t").encode("utf-16"),
        "\ufeffPhoto;Sample;Dilution;Volume (ml)\r\na.jpg;milk;0,01;0,1\r\n\r\nsub\\b.jpg;milk;0,001;0,1\r\n",
        'photo,sample,dilution,volume\na.jpg,milk,"0,01",0.1 ml\n"sub/b.jpg",milk,10^-3,"0,1 mL"\n;;;\n'.replace(
            ";", ","
        ),
        "volume_ml;dilution;photo;sample\n0.1;1/100;a.jpg;milk\n0.1;10⁻³;sub/b.jpg;milk\n",
    ],
    ids=["plain", "UTF-16 with tabs", "German Excel", "quotes, units and an empty row", "other order"],
)
def test_what_spreadsheets_export_is_read(lab: Path, content: str | bytes) -> None:
    read = read_sheet(sheet(lab, content))
    assert [(row.photo, row.sample, row.dilution, row.volume_ml) for row in read.rows] == [
        (lab / "a.jpg", "milk", 0.01, 0.1),
        (lab / "sub" / "b.jpg", "milk", 0.001, 0.1),
    ]
    assert read.notes == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "plates.csv is empty"),
        (HEADER, "has no plate below its header"),
        ("photo,probe,dilution\n", "has no column sample, volume_ml; its header has photo, probe, dilution"),
        ("photo,sample,dilution,volume,volume_ml\n", "two columns for one thing: volume_ml, volume"),
        (f"{HEADER}\na.jpg,milk,0,01,1\n", "line 2 has 5 cells, and the header has 4"),
        (f"{HEADER}\na.jpg,milk,-3,1\n", "line 2, column dilution=-3 is not above 0\nwrite the share of the sample"),
        (f"{HEADER}\na.jpg,milk,1:1000,1\n", "dilution=1:1000 can be one part in that many or one part and that many"),
        (f"{HEADER}\na.jpg,milk,1000,1\n", "dilution=1000 is above 1\nwrite the share of the sample, such as 1/1000"),
        (f'{HEADER}\na.jpg,milk,"1,000",1\n', "dilution=1,000 can be a decimal fraction or thousands"),
        (f"{HEADER}\na.jpg,milk,10-3,1\n", "dilution=10-3 is not a number\nwrite 1e-3, 0.001, 10^-3 or 1/1000"),
        (f"{HEADER}\na.jpg,milk,,1\n", "column dilution= is empty"),
        (f"{HEADER}\na.jpg,milk,1e-3,0\n", "column volume_ml=0 is not above 0"),
        (f"{HEADER}\na.jpg,milk,1e-3,100 µl\n", "column volume_ml=100 µl is not a number\nwrite it in ml"),
        ("photo,sample,dilution,volume\na.jpg,milk,1e-3,100\n", "column volume=100 has no unit"),
        (f"{HEADER}\na.jpg,,1e-3,1\n", "line 2, column sample is empty"),
        (f"{GOOD}./a.jpg,milk,1e-4,1\n", "line 4, column photo=a.jpg is listed in line 2 already"),
        (f"{GOOD}x.jpg,milk,1e-4,1\n", "lists 1 photo that does not exist, of 3: x.jpg (line 4)\nwrite them relative"),
        ("photo;sample\nm\xe4rz.jpg;1\n".encode("latin-1"), "is not text in UTF-8 or UTF-16"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_the_next_step(lab: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(SheetError) as refused:
        read_sheet(sheet(lab, content))
    assert words in str(refused.value)
    assert refused.value.next_step


def test_photos_are_found_in_other_folders_and_two_of_the_name_are_refused(lab: Path) -> None:
    elsewhere = lab / "sheets"
    elsewhere.mkdir()
    path = sheet(elsewhere, GOOD)
    assert read_sheet(path, [lab]).photos == [lab / "a.jpg", lab / "sub" / "b.jpg"]
    (elsewhere / "a.jpg").write_bytes(b"another")
    with pytest.raises(SheetError, match=r"column photo=a\.jpg is .*sheets/a\.jpg and .*/a\.jpg"):
        read_sheet(path, [lab])


def test_notes_name_columns_that_are_passed_over_and_samples_that_look_alike(lab: Path) -> None:
    content = f"{HEADER},operator\na.jpg,Milk 1,1e-2,1,me\nc.jpg,milk1,1e-2,1,me\n"
    assert read_sheet(sheet(lab, content)).notes == (
        "plates.csv: columns that are passed over: operator",
        "plates.csv: 'Milk 1' and 'milk1' are taken for different samples",
    )
