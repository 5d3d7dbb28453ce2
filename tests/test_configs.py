"""Every config file is a test case; wrong keys, values and names are refused in words."""

from __future__ import annotations

import pytest

from agar_pipeline import config as c
from agar_pipeline.errors import ConfigError


@pytest.mark.parametrize("name", c.names_in("pipeline"))
def test_every_pipeline_file_composes(name: str) -> None:
    pipeline = c.load_pipeline(name)
    assert pipeline.name == name
    assert set(pipeline.experiments) <= set(c.names_in("experiment"))


@pytest.mark.parametrize("name", c.names_in("experiment"))
def test_every_experiment_composes_and_survives_json(name: str) -> None:
    experiment = c.load_experiment(name)
    assert c.from_plain(c.ExperimentConfig, c.to_plain(experiment), where="test") == experiment


def test_the_experiments_of_the_contract_exist() -> None:
    assert {"demo", "tiny_steps", "baseline"} <= set(c.names_in("experiment"))
    assert c.load_experiment("tiny_steps").trainer.max_steps == 5
    baseline = c.load_experiment("baseline")
    assert baseline.model.name == "fasterrcnn_resnet50_fpn_v2"
    assert baseline.model.weights == "COCO_V1"
    assert baseline.trainer.precision == "16-mixed"


def test_a_misspelt_experiment_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError, match=r"'bseline' does not exist(.|\n)*baseline, colonies, demo"):
        c.load_experiment("bseline")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=-1", "optimizer.lr = -1"),
        ("+trainer.max_secnds=3", "did you mean trainer.max_seconds"),
        ("trainer.max_secnds=3", "did you mean trainer.max_seconds"),
        ("data.batch_size=a lot", "data.batch_size = 'a lot'"),
        ("trainer.devices=3", "data.batch_size 4 is global and must divide"),
        ("trainer.max_seconds=null", "set one of max_epochs, max_steps, max_seconds"),
        ("model=tyny", "tyny"),
        ("model._target_=os.system", "_target_"),
    ],
)
def test_a_wrong_override_is_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        c.load_experiment("demo", [override])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_devices_and_workers_never_enter_a_fingerprint() -> None:
    one = c.load_experiment("demo")
    more = ["trainer.devices=2", "trainer.accelerator=cuda", "data.num_workers=3", "trainer.num_nodes=2"]
    two = c.load_experiment("demo", more)
    assert c.fingerprinted(one.training_run) == c.fingerprinted(two.training_run)
    other = c.load_experiment("demo", ["data.batch_size=8"])
    assert c.fingerprinted(one.training_run) != c.fingerprinted(other.training_run)


@pytest.mark.parametrize(
    ("split", "message"),
    [({"fractions": {"train": 0.8, "val": 0.3}}, "sum to 1.1"), ({"fractions": {"train": 1.0}}, "train and val")],
)
def test_fractions_must_make_a_whole(split: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        c.from_plain(c.SplitConfig, split, where="test")


def test_category_ids_have_no_gaps_and_spellings_share_an_id() -> None:
    with pytest.raises(ConfigError, match="without gaps"):
        c.from_plain(c.CocoCacheConfig, {"class_map": {"a": 1, "b": 3}}, where="test")
    mapped = c.CocoCacheConfig(class_map={"S.aureus": 1, "S. aureus": 1, "E.coli": 2})
    assert mapped.class_names == ["S.aureus", "E.coli"]


def test_dagster_selection_and_hydra_overrides_parse_in_one_process() -> None:
    import dagster as dg
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert dg.AssetSelection.from_string('+key:"demo/evaluation"') is not None
    (override,) = OverridesParser.create().parse_overrides(["data.batch_size=8"])
    assert override.value() == 8
