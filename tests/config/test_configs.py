"""Every config file is a test case; wrong keys, values and names are refused in words."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from agar_pipeline import config as c
from agar_pipeline.chain.nodes import load_nodes
from agar_pipeline.config import file_content
from agar_pipeline.errors import ConfigError
from agar_pipeline.ownership.home import open_home
from tests.conftest import copy_configs


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
        ("optimizer.lr=-1", "optimizer.lr=-1 must be greater than 0"),
        ("+trainer.max_secnds=3", "trainer.max_secnds is an unknown key\nwrite trainer.max_seconds, if you"),
        ("trainer.max_secnds=3", "trainer.max_secnds is an unknown key\nwrite trainer.max_seconds, if you"),
        ("data.batch_size=a lot", "data.batch_size=a lot must be a whole number, or auto (from the command line)"),
        ("data.batch_size=true", "data.batch_size=true must be a number, not true or false"),
        ("data.tiles={size: 100, overlap: 90}", "data.tiles.overlap=90 is more than half of the tiles' size 100"),
        ("trainer.devices=3", "data.batch_size=4 is for all processes, and does not divide by"),
        ("trainer.max_seconds=null", "set one of max_epochs, max_steps, max_seconds"),
        ("model=tyny", "no configs/model/tyny.yaml\nwrite tiny, if you mean that; else choose one of"),
        ("model.optimizer=sgd", "optimizer is a group of its own\nwrite optimizer=sgd"),
        ("model.lr=1e-3", "model.lr is an unknown key\nwrite optimizer.lr, if you mean that"),
        ("optimiser.lr=1", "write optimizer, if you mean that"),
        ("modle=tiny", "modle is an unknown key\nwrite model, if you mean that"),
        ("seed=0,1", "agar train -m"),
        ("seed", "'seed' is not an override of the form key=value\nwrite a key and a value"),
        ("model._target_=os.system", "_target_"),
        ("model.name=tyny", "model.name=tyny is not a detector of boxes (from the command line)\nwrite tiny, if you"),
        ("model.name=retinanet_resnet50_fpn_v3", "write retinanet_resnet50_fpn_v2, if you mean that"),
        (
            "model.weights_backbone=DEFAULT",
            "model.weights_backbone=DEFAULT does not name weights of the backbone of tiny",
        ),
    ],
)
def test_a_wrong_override_is_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        c.load_experiment("demo", [override])
    assert message in str(caught.value)
    assert caught.value.next_step
    assert len(str(caught.value).splitlines()) <= 3


def test_all_that_is_wrong_in_a_file_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        c.from_plain(c.SplitConfig, {"method": "rnd", "seed": -1, "sed": 1}, where="test")
    told = caught.value
    assert (told.where, told.what.partition(":")[0]) == ("test", "has 3 wrong settings")
    assert "method=rnd must be 'random', 'hash'," in told.what
    assert "seed=-1 must be 0 or more" in told.what
    assert "sed is an unknown key" in told.what
    assert "write seed, if you mean that" in (told.next_step or "")


@pytest.fixture
def own_configs(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configs, and a home where nothing was composed yet."""
    monkeypatch.setenv("AGAR_CONFIGS", str(copy_configs(tmp_path / "configs")))
    open_home(home)
    return tmp_path / "configs"


def test_what_was_composed_is_not_composed_again(own_configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = c.load_experiment("small", ["seed=3"])
    monkeypatch.setattr("agar_pipeline.config.compose._compose_anew", _refuse)
    assert c.load_experiment("small", ["seed=3"]) == first
    with pytest.raises(AssertionError, match="asked Hydra"):
        c.load_experiment("small", ["seed=4"])


@pytest.mark.parametrize("group", ["trainer/default.yaml", "config.yaml", "experiment/small.yaml"])
def test_an_edit_of_any_config_file_is_seen(own_configs: Path, group: str) -> None:
    before = c.load_experiment("small")
    file = (own_configs / group).rename(own_configs.parent / "elsewhere.yaml")
    (own_configs / group).symlink_to(file)
    assert c.load_experiment("small") == before
    text = file.read_text()
    more = {"trainer": "log_every_n_steps: 77\n", "config": "seed: 77\n", "experiment": "seed: 77\n"}
    kept = [line for line in text.splitlines() if not line.startswith(("seed:", "log_every_n_steps:"))]
    file.write_text("\n".join(kept) + "\n" + more[group.split("/")[0].removesuffix(".yaml")])
    after = c.load_experiment("small")
    assert 77 in (after.seed, after.trainer.log_every_n_steps)


def test_what_depends_on_the_environment_is_composed_each_time(
    own_configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (own_configs / "experiment" / "small.yaml").open("a") as file:
        file.write("seed: ${oc.decode:${oc.env:MY_SEED}}\n")
    for seed in (5, 6):
        monkeypatch.setenv("MY_SEED", str(seed))
        assert c.load_experiment("small").seed == seed


def test_a_home_that_cannot_be_written_is_no_obstacle(own_configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_HOME", "/proc/nowhere")
    assert c.load_experiment("small", ["seed=9"]).seed == 9


def _refuse(*_: object) -> None:
    raise AssertionError("asked Hydra")


def test_every_value_has_an_origin() -> None:
    from agar_pipeline.config.load_configs import explain_experiment

    origins = explain_experiment("demo", ["optimizer.lr=0.5", "model=retinanet_resnet50_fpn_v2"])
    found = {origin.key: (origin.value, origin.source) for origin in origins}
    assert found["optimizer.lr"] == (0.5, "optimizer.lr=0.5")
    assert found["model.weights"] == ("COCO_V1", "configs/model/retinanet_resnet50_fpn_v2.yaml")
    assert found["trainer.max_seconds"] == (50.0, "configs/experiment/demo.yaml")
    assert found["trainer.val_every_n_epochs"] == (5, "configs/trainer/cpu_minute.yaml")
    assert found["trainer.patience"] == (None, "default")
    assert found["data.batch_size"] == (4, "configs/experiment/demo.yaml")
    assert found["data.flip"] == (True, "configs/data/auto.yaml")


def test_a_list_of_values_is_a_sweep_over_every_combination() -> None:
    words = ["experiment=demo", "seed=0,1", "optimizer.lr=1e-3,1e-2", "optimizer.step_at=[0.5,0.9]"]
    runs = c.spread(words)
    assert len(runs) == 4
    assert runs[1] == ["experiment=demo", "seed=0", "optimizer.lr=0.01", "optimizer.step_at=[0.5,0.9]"]
    assert c.load_experiment("demo", runs[1][1:]).optimizer.lr == 0.01


def test_devices_and_workers_never_enter_a_fingerprint() -> None:
    one = c.load_experiment("demo")
    more = ["trainer.devices=2", "trainer.accelerator=cuda", "data.num_workers=3", "trainer.num_nodes=2"]
    two = c.load_experiment("demo", more)
    assert c.fingerprinted(one.training_run) == c.fingerprinted(two.training_run)
    other = c.load_experiment("demo", ["data.batch_size=8"])
    assert c.fingerprinted(one.training_run) != c.fingerprinted(other.training_run)


def test_a_file_of_weights_is_known_by_its_content_wherever_it_lies(home: Path, tmp_path: Path) -> None:
    def recorded(path: Path) -> str:
        return c.fingerprinted(c.load_experiment("demo", [f"model.weights='{path}'"]).training_run)["model"]["weights"]

    first, elsewhere = tmp_path / "weights, mine.pt", tmp_path / "elsewhere.pt"
    first.write_bytes(b"trained")
    elsewhere.write_bytes(b"trained")
    os.utime(first, ns=(1, 1))
    before = recorded(first)
    assert before == recorded(elsewhere)
    assert before == f"sha256:{hashlib.sha256(b'trained').hexdigest()[:32]}"
    first.write_bytes(b"altered")
    os.utime(first, ns=(1, 1))
    assert recorded(first) != before, "the same path, size and mtime"
    assert recorded(elsewhere) == before


def test_a_large_file_of_weights_is_hashed_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_home(home)
    (tmp_path / "weights.pt").write_bytes(b"trained")
    monkeypatch.setattr(file_content, "SETTLED_NS", -1)
    digest = file_content.hash_content(tmp_path / "weights.pt")
    monkeypatch.setattr(hashlib, "file_digest", _refuse)
    assert file_content.hash_content(tmp_path / "weights.pt") == digest
    (tmp_path / "weights.pt").write_bytes(b"longer than before")
    with pytest.raises(AssertionError):
        file_content.hash_content(tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"fractions": {"train": 0.8, "val": 0.3}}, "test: fractions={train: 0.8, val: 0.3} must sum to 1, not to 1.1"),
        ({"fractions": {"train": 1.0}}, "test: fractions={train: 1.0} must have a share for train and one for val"),
    ],
)
def test_fractions_must_make_a_whole(split: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        c.from_plain(c.SplitConfig, split, where="test")
    assert caught.value.problem == message


def test_category_ids_have_no_gaps_and_labels_may_share_one() -> None:
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


NOT_YAML = {
    "a key twice": ("class_map: {a: 1}\nclass_map: {b: 1}\n", "line 2, column 1: found duplicate key class_map"),
    "a class twice": ("class_map:\n  S. a: 1\n  S. a: 2\n", "line 3, column 3: found duplicate key S. a in 'S. a: 2'"),
    "a tab": ("snapshot:\n\tdataset: small\n", "line 2, column 1: found a tab in 'dataset: small': indent with blanks"),
    "a text with a colon": ("snapshot:\n  dataset: my: new\n", "in 'dataset: my: new': put the text in quotes if"),
    "a key with a colon": ("class_map:\n  E: coli: 1\n", "line 2, column 10: mapping values"),
    "a text that begins with @": ("snapshot: {dataset: @new}\n", "line 1, column 21: found character that cannot"),
    "a text that begins with *": ("snapshot: {dataset: *new}\n", "'snapshot: {dataset: *new}': put the text in quotes"),
    "a text that begins with %": ("snapshot:\n  dataset: %new\n", "in 'dataset: %new': put the text in quotes"),
    "a text that begins with !": ("snapshot:\n  dataset: !new\n", "in 'dataset: !new': put the text in quotes"),
    "words after a quote": ('snapshot:\n  dataset: "my" plates\n', "line 2, column 17: "),
    "a bracket left open": ("snapshot: {dataset: small\nclass_map: {a: 1}\n", "close the bracket"),
    "a quote left open": ("snapshot: {dataset: 'small}\n", "close the quote"),
    "too few blanks": ("split:\n  seed: 0\n method: random\n", "line 3, column 2: "),
}


def test_what_is_no_yaml_is_told_by_its_problem_and_its_place(own_configs: Path) -> None:
    for case, (text, words) in NOT_YAML.items():
        (own_configs / "pipeline" / "small.yaml").write_text(text)
        with pytest.raises(ConfigError) as caught:
            c.load_pipeline("small")
        told = str(caught.value)
        assert told.startswith("configs/pipeline/small.yaml is not YAML: line "), case
        assert words in told, case
        assert "while" not in told, case
        assert len(caught.value.problem.splitlines()) == 1, case


def test_a_value_that_yaml_takes_for_another_kind_wants_quotes(own_configs: Path) -> None:
    path = own_configs / "pipeline" / "small.yaml"
    for dataset in ("2024_1", "no", "1e3"):
        path.write_text(f"snapshot: {{dataset: {dataset}}}\nclass_map: {{a: 1}}\n")
        with pytest.raises(ConfigError, match=r"snapshot\.dataset=\S+ must be text\nwrite the value in quotes"):
            c.load_pipeline("small")
    for label in ("no", "1.5", "12"):
        path.write_text(f"snapshot: {{dataset: small}}\nclass_map: {{{label}: 1}}\n")
        with pytest.raises(ConfigError, match=r"class_map has the key .* not read as text\nwrite the key in quotes"):
            c.load_pipeline("small")


def test_a_bad_value_is_told_with_what_set_it(own_configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_PIPELINE", "smal")
    with pytest.raises(
        ConfigError,
        match=r"pipeline 'smal' \(from AGAR_PIPELINE\) does not exist: .*AGAR_CONFIGS.*\nwrite small,.* set AGAR_",
    ):
        c.load_pipeline()
    with pytest.raises(ConfigError, match=r"optimizer\.lr=-1 .*\(from the command line\)"):
        c.load_experiment("small", ["optimizer.lr=-1"])
    optimizer = own_configs / "optimizer" / "adamw.yaml"
    optimizer.write_text(optimizer.read_text().replace("10.0", "a lot"))
    with pytest.raises(ConfigError, match=r"\(from configs/optimizer/adamw\.yaml\)"):
        c.load_experiment("small")
    pipeline = own_configs / "pipeline" / "small.yaml"
    pipeline.write_text("snapshot: {dataset: small}\nclass_map: {a: 1}\nexperiments: [smal]\n")
    with pytest.raises(
        ConfigError, match=r"'smal' \(from experiments in configs/pipeline/small\.yaml\) does not exist"
    ):
        load_nodes(c.load_pipeline("small"))
