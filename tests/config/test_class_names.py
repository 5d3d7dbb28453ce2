"""Which class a label means: one place answers for imports, class maps, exports, reports and models."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agar_pipeline import config as c
from agar_pipeline.commands.import_words import _next_step
from agar_pipeline.errors import ConfigError
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from tests.conftest import copy_configs

APART = {
    "signs of a genotype": ["lac", "lac+", "lac-", "lac+/-"],
    "signs of typography": ["lac", "lac\N{MINUS SIGN}", "lac\N{SUPERSCRIPT PLUS SIGN}"],
    "signs before a name, and after it": ["glucose lac", "glucose -lac", "lac strain", "lac- strain"],
    "decimal points": ["1.5 mm", "15 mm", "1,5 mm", "1 5 mm", "1-5 mm"],
    "a decimal point without a nought": [".5 mm", "5 mm", "0.5 mm"],
    "orders of magnitude": ["10²", "102", "10₂", "10²²"],
    "exponents": ["1e3", "1e-3", "1e+3"],
    "a negative value": ["pH 7", "pH -7", "pH 70", "pH 7.0"],
    "units that differ in case": ["5 mM", "5 MM", "5 mm", "5 Mm"],
    "numbers that run into each other": ["A1 1", "A11", "A1.1"],
    "half of something": ["1½", "11/2", "112"],
}
ALIKE = {
    "case, spaces, dots, underscores, hyphens": ["S.aureus", "S. aureus", "s aureus", "S_AUREUS", "s-aureus"],
    "forms of the same letters": [
        "S.aureus",
        "Ｓ.aureus",
        "S.au\N{ZERO WIDTH SPACE}reus",
        "S.\N{NO-BREAK SPACE}aureus",
    ],
    "a number set off from its word": ["colony 1", "colony1", "Colony_1"],
    "a number with its unit": ["1.5 mm", "1.5mm", "1.5_mm"],
}
BLANK = ["", "  ", "\t\n", "\N{NO-BREAK SPACE}", "\N{IDEOGRAPHIC SPACE}", "\N{ZERO WIDTH SPACE}", "\ufeff",
         "\N{SOFT HYPHEN}", "\N{BRAILLE PATTERN BLANK}", "\N{HANGUL FILLER}", None]  # fmt: skip


@pytest.mark.parametrize("names", APART.values(), ids=APART.keys())
def test_what_is_more_than_spelling_stays_apart(names: list[str]) -> None:
    for one, other in combinations(names, 2):
        assert c.Spellings({one: 1}).match([other]).category_ids == {}
        assert c.Spellings({one: 1, other: 2}).match(names).category_ids == {one: 1, other: 2}
    assert c.class_map_of(names) == {name: number for number, name in enumerate(names, start=1)}


@pytest.mark.parametrize("names", ALIKE.values(), ids=ALIKE.keys())
def test_a_spelling_means_its_class_where_it_is_the_only_one(names: list[str]) -> None:
    first, *others = names
    spellings = c.Spellings({first: 1, "E.coli": 2})
    for other in others:
        match = spellings.match([other, "E.coli", "Martian"])
        assert match.category_ids == {other: 1, "E.coli": 2}
        assert match.tell_merged() == [f"label {other!r} is taken for the class {first!r}"], "and that is said"
    assert spellings.match([*others, "E.coli"]).category_ids == ({"E.coli": 2} if len(others) > 1 else {others[0]: 1})
    beside = spellings.match([first, others[0]])
    assert beside.category_ids == {first: 1}, "what the data lists side by side is never merged"
    words = f"label {others[0]!r}, spelt like the class {first!r}, but the label {first!r} has the same spelling"
    assert beside.explain_unknown(others[0]).startswith(words)
    both = c.Spellings({first: 1, others[0]: 2})
    assert both.match(names).category_ids == {first: 1, others[0]: 2}, "nor what the user lists side by side"
    shared = c.Spellings(dict.fromkeys(names, 1))
    assert shared.match(names).category_ids == dict.fromkeys(names, 1), "but what is listed under one id is one"
    assert len(c.tell_alike(names)) == 1


@pytest.mark.parametrize("name", BLANK, ids=ascii)
def test_a_name_that_nobody_sees_is_no_class(name: str | None) -> None:
    assert c.is_blank(name)
    match = c.Spellings({"S.aureus": 1}).match([name, "S.aureus"])
    assert match.category_ids == {"S.aureus": 1}
    assert match.explain_unknown(name) == (
        "no label" if name is None else f"label {name!r}, which is an empty or invisible name"
    )
    if name is not None:
        assert c.class_map_of([name, "a"]) == {"a": 1}
        with pytest.raises(ConfigError, match=r"gives the id 2 to the empty or invisible name .*\nwrite a name there"):
            c.from_plain(c.CocoCacheConfig, {"class_map": {"a": 1, name: 2}}, where="test")


NAMES = st.lists(st.text(st.sampled_from("lL1.5-+ _²\u200bµ"), max_size=5), max_size=6, unique=True)


@given(listed=NAMES, labels=NAMES, order=st.randoms(use_true_random=False))
def test_no_two_labels_become_one_unless_both_are_listed(listed: list[str], labels: list[str], order: Random) -> None:
    spellings = c.Spellings(c.class_map_of(listed))
    found = spellings.match(labels).category_ids
    of_class = {i: [label for label, other in found.items() if other == i] for i in found.values()}
    assert all(len(alike) == 1 for alike in of_class.values()), "each listed class has an id of its own"
    assert {
        label: found[label] for label in labels if label in spellings.class_map
    }.items() <= spellings.class_map.items()
    assert not any(map(c.is_blank, found))
    order.shuffle(labels)
    assert spellings.match(labels).category_ids == found


def test_an_unknown_label_names_the_nearest_class() -> None:
    match = c.Spellings({"S.aureus": 1, "E.coli": 2}).match(["S. aureas", "e-coli", "--", float("nan")])
    assert match.explain_unknown("S. aureas") == "label 'S. aureas', nearest class 'S.aureus'"
    assert match.explain_unknown("Martian") == "label 'Martian'"
    assert match.category_ids == {"e-coli": 2}


@pytest.mark.parametrize("dataset", ["plates", "lab/plates 1: all", "plätze", "…"])
def test_the_next_step_of_an_import_works_when_it_is_pasted(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = copy_configs(tmp_path / "configs")
    (configs / "pipeline" / "plates.yaml").write_text("snapshot: {dataset: other}\nclass_map: {a: 1}\n")
    monkeypatch.setenv("AGAR_CONFIGS", str(configs))
    counts = ImportCounts(classes={"lac+": 3, '1.5 mm: "x"': 1, "lac-": 2, "yes": 1})
    first, *lines = _next_step(dataset, "env:MONGO", counts, None).splitlines()
    name = first.partition("AGAR_PIPELINE=")[2].partition(" ")[0]
    assert f"--pipeline {name})" in first
    assert not (configs / "pipeline" / f"{name}.yaml").exists(), "of no other dataset"
    (configs / "pipeline" / f"{name}.yaml").write_text("\n".join(line.removeprefix("  ") for line in lines))
    pipeline = c.load_pipeline(name)
    assert (pipeline.fiftyone_snapshot.dataset, pipeline.database) == (dataset, "env:MONGO")
    assert sorted(pipeline.class_map) == sorted(counts.classes)
    assert yaml.safe_load(lines[1])["class_map"] == json.loads(lines[1].partition(": ")[2])
    nothing = _next_step(dataset, "embedded", ImportCounts(), None)
    assert "class_map" not in nothing
    assert "annotate the files, then import again with --pipeline" in nothing
    (configs / "pipeline" / "empty.yaml").write_text("snapshot: {dataset: x}\nclass_map: {}\n")
    with pytest.raises(ConfigError, match="class_map is empty\ngive each class a number"):
        c.load_pipeline("empty")
