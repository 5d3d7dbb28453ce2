"""The files of deploy/, as far as that goes without a Docker daemon and Kubernetes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from agar_pipeline.defs.jobs import chain_jobs, gpu_tags
from agar_pipeline.errors import ConfigError
from agar_pipeline.store import Key
from tests.conftest import CHECKOUT
from tests.docs.pages import blocks

DEPLOY = CHECKOUT / "deploy"
ENV = {"POSTGRES_PASSWORD": "secret1", "AGAR_PHOTOS": "/data/photos", "PATH": "/usr/local/bin:/usr/bin:/bin"}


def compose() -> list[str]:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = ["docker", "compose"]
    if shutil.which("docker") and subprocess.run([*plugin, "version"], capture_output=True).returncode == 0:
        return plugin
    pytest.skip("neither docker-compose nor docker's compose plugin is here")


def test_compose_accepts_the_files_and_wants_a_password() -> None:
    command = [*compose(), *(f"--file={DEPLOY / name}" for name in ("compose.yaml", "compose.gpu.yaml")), "config"]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services.keys() == {"postgres", "code", "webserver", "daemon"}
    assert "gpu" in str(services["code"]["deploy"])
    assert "127.0.0.1" in str(services["webserver"]["ports"])
    assert services["webserver"]["environment"]["DAGSTER_WEBSERVER_READ_ONLY"] == "true", "it asks nobody who they are"
    assert [name for name, service in services.items() if "ports" in service] == ["webserver"]
    nameless = subprocess.run(command, env=ENV | {"POSTGRES_PASSWORD": ""}, capture_output=True, text=True)
    assert nameless.returncode != 0
    assert "letters and digits" in nameless.stderr


def test_each_service_says_whether_it_is_well_and_configs_are_not_in_the_image_alone() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert [name for name, service in services.items() if "healthcheck" not in service] == []
    for name in ("code", "webserver", "daemon"):
        assert "../configs:/app/configs:ro" in services[name]["volumes"]
    assert "mem_limit" in services["daemon"]


def test_the_image_has_an_account_of_its_own_and_nothing_of_developers() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE) == ["agar"]
    assert set(re.findall(r"\S+\.lock(?=[ /])", text.partition("apt-get")[2].partition("--from")[0])) >= {
        "requirements-cluster.lock",
        "deploy/requirements-kubernetes.lock",
    }
    assert "requirements-dev.lock" not in text
    (default,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", default), "the tag that is moved least"
    assert default in (DEPLOY / "compose.yaml").read_text()
    assert {"tests", "benchmarks", "docs"} <= set((CHECKOUT / ".dockerignore").read_text().split())


def test_the_image_builds_its_wheel_from_what_it_copies(tmp_path: Path) -> None:
    """And the wheel is a project's: configs and Dagster's files are in it."""
    sources = tmp_path / "sources"
    sources.mkdir()
    stage = (DEPLOY / "Dockerfile").read_text().partition("\nFROM")[2].partition("\nFROM")[0]
    for words in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        *named, target = words.split()
        for name in named:
            if (CHECKOUT / name).is_dir():
                shutil.copytree(CHECKOUT / name, sources / target, symlinks=True)
            else:
                shutil.copy(CHECKOUT / name, sources)
    (command,) = re.findall(r"^RUN pip (wheel .*)$", stage, re.MULTILINE)
    words = shlex.split(command.replace("/wheel", str(tmp_path / "wheel")))
    done = subprocess.run([sys.executable, "-m", "pip", *words], cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    for name in ("dagster.yaml", "workspace.yaml", "configs/config.yaml", "configs/pipeline/demo.yaml"):
        assert f"agar_pipeline/lab/{name}" in inside
    assert not [name for name in inside if name.startswith(("tests", "benchmarks"))]


def commands_of_the_page(reason: str) -> list[str]:
    (block,) = [block for block in blocks("docs/how-to/production.md") if block.reason == reason]
    return block.commands


def test_compose_takes_the_commands_of_the_page(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    write_env, up, _ = commands_of_the_page("wants a Docker daemon")
    assert up.endswith("up --build --detach")
    check = up.replace("docker compose", " ".join(compose())).replace("up --build --detach", "config --quiet")
    done = subprocess.run(["bash", "-ec", f"{write_env}\n{check}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
def test_kubectl_takes_the_command_of_the_page() -> None:
    _, secret, _ = commands_of_the_page("wants a Docker daemon and a Kubernetes cluster")
    done = subprocess.run([*shlex.split(secret), "--dry-run=client", "--output=json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = yaml.safe_load((DEPLOY / "values.yaml").read_text())
    assert json.loads(done.stdout)["metadata"]["name"] == values["global"]["postgresqlSecretName"]


def test_each_variable_of_ours_is_one_that_is_read() -> None:
    read = (CHECKOUT / "agar_pipeline" / "config" / "places.py").read_text()
    for path in (DEPLOY / "compose.yaml", DEPLOY / "values.yaml", DEPLOY / "Dockerfile"):
        for name in set(re.findall(r"\bAGAR_\w+", path.read_text())) - {"AGAR_PHOTOS"}:
            assert f'"{name}"' in read, f"{path.name} sets {name}, which nothing reads"


def test_versions_are_those_that_are_installed() -> None:
    lock = (CHECKOUT / "requirements-cluster.lock").read_text()
    dagster = re.search(r"^dagster==1\.(\S+)", lock, re.MULTILINE)
    assert dagster is not None
    assert f"--version 1.{dagster[1]} " in (DEPLOY / "values.yaml").read_text()
    postgres = re.search(r"^dagster-postgres==(\S+)", lock, re.MULTILINE)
    assert postgres is not None
    kubernetes = (DEPLOY / "requirements-kubernetes.lock").read_text()
    assert f"dagster-k8s=={postgres[1]} " in kubernetes, "Dagster releases them together"
    ours = dict(re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE))
    theirs = dict(re.findall(r"^(\S+)==(\S+)", kubernetes, re.MULTILINE))
    assert {name: theirs[name] for name in ours.keys() & theirs.keys()}.items() <= ours.items()
    release = re.search(r'^version = "(\S+)"', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)
    assert release is not None
    deployment = yaml.safe_load((DEPLOY / "values.yaml").read_text())["dagster-user-deployments"]["deployments"][0]
    assert deployment["image"]["tag"] == release[1]


def test_runs_that_train_are_tagged_and_ask_kubernetes_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_tags() == {"agar/gpu": "true"}
    monkeypatch.setenv("AGAR_GPUS_PER_RUN", "2")
    data, train = chain_jobs([Key("snapshot"), Key("training_run", "small")])[0:3:2]
    assert data.tags == {}
    assert json.loads(train.tags["dagster-k8s/config"]) == {
        "container_config": {"resources": {"limits": {"nvidia.com/gpu": 2}}}
    }
    limits = yaml.safe_load((DEPLOY / "values.yaml").read_text())["concurrency"]["runs"]["tagConcurrencyLimits"]
    assert limits[0]["key"] in train.tags
    monkeypatch.setenv("AGAR_GPUS_PER_RUN", "all")
    with pytest.raises(ConfigError, match="AGAR_GPUS_PER_RUN=all must be a whole number"):
        gpu_tags()


def test_tags_of_a_run_can_ask_kubernetes_for_resources_and_nothing_else() -> None:
    """Who reaches the webserver sets tags; a volume of a node or a privileged container would be the whole node."""
    launcher = yaml.safe_load((DEPLOY / "values.yaml").read_text())["runLauncher"]["config"]["customRunLauncher"]
    assert (launcher["module"], launcher["class"]) == ("dagster_k8s", "K8sRunLauncher")
    allowed = launcher["config"]["only_allow_user_defined_k8s_config_fields"]
    assert allowed == {
        "container_config": {"resources": True, "image_pull_policy": True},
        "pod_spec_config": {"node_selector": True, "tolerations": True},
    }
    assert launcher["config"]["only_allow_user_defined_env_vars"] == []
    config = gpu_tags_on_kubernetes()["dagster-k8s/config"]
    assert {name: dict.fromkeys(fields, True) for name, fields in config.items()} == {
        "container_config": {"resources": True}
    }, "ours is allowed"
    context = pytest.importorskip("dagster_k8s.container_context", reason="dagster-k8s is only in the image")
    given = context.UserDefinedDagsterK8sConfig.from_dict
    variables = launcher["config"]["only_allow_user_defined_env_vars"]
    context.K8sContainerContext(run_k8s_config=given(config)).validate_user_k8s_config_for_run(allowed, variables)
    for evil in (
        {"pod_spec_config": {"volumes": [{"name": "node", "host_path": {"path": "/"}}]}},
        {"container_config": {"security_context": {"privileged": True}}},
        {"pod_spec_config": {"hostNetwork": True}},
        {"container_config": {"image": "evil", "command": ["sh"]}},
        {"container_config": {"env": [{"name": "LD_PRELOAD", "value": "/x"}]}},
        {"pod_spec_config": {"service_account_name": "admin"}},
    ):
        with pytest.raises(Exception, match="violated the allowed list"):
            context.K8sContainerContext(run_k8s_config=given(evil)).validate_user_k8s_config_for_run(allowed, variables)


def gpu_tags_on_kubernetes() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AGAR_GPUS_PER_RUN", "1")
        return gpu_tags()
