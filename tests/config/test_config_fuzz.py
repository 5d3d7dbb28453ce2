"""Whatever a config says, it is kept as it says, or refused in a few words: no traceback, no value quietly another."""

from __future__ import annotations

import copy
import functools
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agar_pipeline import config as c
from agar_pipeline.errors import ConfigError
from tests.conftest import CHECKOUT

EXAMPLES = int(os.environ.get("AGAR_FUZZ_EXAMPLES", "200"))
"""Set AGAR_FUZZ_EXAMPLES=10000 for a long run."""
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 1000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
FILES = settings(FUZZ, max_examples=max(30, EXAMPLES // 40))
"""Through Hydra, which takes a hundred times as long."""
Draw = Callable[[st.SearchStrategy[Any]], Any]
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from([2**31, 2**32, 2**63, 2**64, 10**400, -1, 0.5, 1e308, math.nan, math.inf]),
    st.text(max_size=6),
    st.sampled_from(["auto", "1", "0.5", "yes", "val", "class", "coco", "field:", "tag:", "../..", "${seed}", "\0"]),
)
ODD = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
PIPELINE = {
    "name": "x",
    "snapshot": {"dataset": "plates", "database": "embedded", "view": None, "exif": "displayed"},
    "class_map": {"S.aureus": 1, "E.coli": 2, "e_coli": 2},
    "split": {
        "method": "random",
        "seed": 0,
        "fractions": {"train": 0.8, "val": 0.2},
        "stratify_by": "class",
        "group_by": "field:plate",
        "leakage": {},
    },
    "box_policy": {"degenerate_box": "drop_box"},
    "min_box_side_px": 2.0,
    "images": "decode",
    "max_missing_share": 0.01,
    "media": "resize",
    "max_side": 1024,
    "experiments": ["demo"],
    "auto_refresh": "train",
}


def damaged(draw: Draw, value: Any) -> Any:
    """The value with one place in it, or a new key, something else."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 4)):
        value = copy.copy(value)
        key = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        if isinstance(value, dict) and not draw(st.integers(0, 7)):
            value[draw(st.text(max_size=8))] = draw(ODD)
        elif isinstance(value, dict) and not draw(st.integers(0, 7)):
            del value[key]
        else:
            value[key] = damaged(draw, value[key])
        return value
    return draw(ODD)


@functools.cache
def experiment() -> dict[str, Any]:
    return c.to_plain(c.load_experiment("demo"))


def require_kept(said: Any, kept: Any, where: str = "") -> None:
    """What a config says is what it holds; only a number may be written as text, 1 where 1.0 or true is due."""
    if isinstance(said, Mapping):
        for key, value in said.items():
            require_kept(value, kept[key], f"{where}.{key}")
    elif isinstance(said, list):
        assert len(said) == len(kept), where
        for index, value in enumerate(said):
            require_kept(value, kept[index], f"{where}[{index}]")
    elif isinstance(said, str) and not isinstance(kept, str):
        assert said.strip().lower() in ("yes", "no", "on", "off", "y", "n", "t", "f", "true", "false") or (
            float(said) == kept
        ), where
    else:
        assert said == kept, f"{where}: {said!r} became {kept!r}"
        assert isinstance(kept, bool) or not isinstance(said, bool), f"{where}: {said!r} became {kept!r}"


def require_words(error: ConfigError) -> None:
    assert str(error).strip()
    assert len(str(error).splitlines()) <= 3


def check(config_type: type[Any], plain: Any) -> None:
    try:
        config = c.from_plain(config_type, plain, where="x.yaml")
    except ConfigError as error:
        require_words(error)
    else:
        require_kept(plain, c.to_plain(config))


@FUZZ
@given(data=st.data())
def test_a_pipeline_with_one_value_replaced(data: st.DataObject) -> None:
    check(c.PipelineConfig, damaged(data.draw, PIPELINE))


@FUZZ
@given(data=st.data())
def test_an_experiment_with_one_value_replaced(data: st.DataObject) -> None:
    check(c.ExperimentConfig, damaged(data.draw, experiment()))


def loads(load: Callable[[], object], file: str = "") -> None:
    """Whatever a file holds, it loads, or is refused by its name."""
    try:
        load()
    except ConfigError as error:
        require_words(error)
        message = str(error)
    else:
        return
    assert file in message


@pytest.fixture
def own_configs(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(CHECKOUT / "configs", tmp_path / "configs")
    monkeypatch.setenv("AGAR_CONFIGS", str(tmp_path / "configs"))
    return tmp_path / "configs"


def spoilt(draw: Draw, text: str) -> bytes:
    start = draw(st.integers(0, len(text)))
    piece = st.one_of(
        st.binary(max_size=6),
        st.text(alphabet="[]{}:,-&*!%@|>'\"#?~ \n\t$ab1.", max_size=8).map(str.encode),
        st.sampled_from([b"!!python/object/apply:os.system [ls]", b"${oc.env:HOME}", b"&a [*a]", b"<<: *x", b"? [1]"]),
    )
    return text[:start].encode() + draw(piece) + text[draw(st.integers(start, len(text))) :].encode()


@FILES
@given(data=st.data())
def test_a_pipeline_file_with_other_bytes_in_it(own_configs: Path, data: st.DataObject) -> None:
    good = (CHECKOUT / "configs" / "pipeline" / "demo.yaml").read_text()
    (own_configs / "pipeline" / "bad.yaml").write_bytes(spoilt(data.draw, good))
    loads(lambda: c.load_pipeline("bad"), "configs/pipeline/bad.yaml")


@FILES
@given(
    text=st.sampled_from(
        [
            "snapshot:\n\tdataset: x",
            "a: 1\na: 2",
            "snapshot: {dataset: x: y}",
            "class_map: {yes: 1, 1.5: 2, 007: 3, null: 4}",
            "class_map: {lac+: 1, lac-: 2, 'lac': 3}",
            "class_map: {'': 1, ' ': 2}",
            "snapshot: {dataset: Pl\u00e4ne #1}",
            "- a",
            "{[,]}: %",
        ]
    ),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_pipeline_file_as_editors_of_others_save_it(
    own_configs: Path, text: str, encoding: str, line_end: str
) -> None:
    good = (CHECKOUT / "configs" / "pipeline" / "demo.yaml").read_text()
    content = f"{good}\n{text}\n".replace("\n", line_end).encode(encoding)
    (own_configs / "pipeline" / "bad.yaml").write_bytes(content)
    loads(lambda: c.load_pipeline("bad"), "configs/pipeline/bad.yaml")


@FILES
@given(data=st.data())
def test_an_experiment_file_with_other_bytes_in_it(own_configs: Path, data: st.DataObject) -> None:
    good = (CHECKOUT / "configs" / "experiment" / "demo.yaml").read_text()
    (own_configs / "experiment" / "bad.yaml").write_bytes(spoilt(data.draw, good))
    loads(lambda: c.load_experiment("bad"))


@FILES
@given(
    word=st.one_of(
        st.text(max_size=20),
        st.builds(
            "{}{}={}".format,
            st.sampled_from(["", "+", "~", "++"]),
            st.sampled_from(["model", "optimizer.lr", "data.tiles", "trainer", "seed", "a.b", "hydra.run.dir", "_x"]),
            st.text(alphabet="[]{}:,-&*!%@|>'\"#?~ $ab1.\n", max_size=8),
        ),
    )
)
@example(word="seed=${oc.env:HOME}")
@example(word="trainer={_target_: os.system}")
def test_any_override(own_configs: Path, word: str) -> None:
    loads(lambda: c.load_experiment("demo", [word]))


@settings(FUZZ, max_examples=max(1, EXAMPLES // 200))
@given(name=st.text(alphabet="[]{}()*?#%&:;,'\"!$|<>~ =+-_.aä\u0301\t\n\\", min_size=1, max_size=12))
@example(name=" [a] #b: c, {d}")
@example(name="50%25?x=y&z")
def test_a_home_of_any_name(tmp_path: Path, name: str) -> None:
    """Dagster's history is in it, with the storage and the silence that dagster.yaml there asks for."""
    from agar_pipeline.defs.instance import open_instance

    home = tmp_path / f"h{name}"
    before = set(tmp_path.iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGAR_HOME", str(home))
        patch.setenv("DAGSTER_HOME", "")
        with open_instance() as instance:
            assert type(instance.get_ref().storage).__name__ == "HomeStorage"
            assert not instance.telemetry_enabled
            assert instance.get_runs() == []
    assert (home / "dagster" / "storage").is_dir()
    assert set(tmp_path.iterdir()) - before <= {home}
