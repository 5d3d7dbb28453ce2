"""Dagster's history in a Postgres server: the chain, what is remembered, and what deploy/ starts."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.cluster.processes import free_port, running
from tests.cluster.test_ray_dagster import DATA, prepare
from tests.conftest import BIN, CHECKOUT, Run, runner
from tests.docs.pages import Reader

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
COMPOSE = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text())["services"]


class Server:
    """A Postgres of our own on the loopback, by a user who may run one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.url = f"postgresql+psycopg2://agar:secret1@127.0.0.1:{self.port}/postgres"
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(self.user).pw_uid, -1)
        self._call("initdb", "--pgdata=data", "--username=agar", "--auth=scram-sha-256", f"--pwfile={self._password()}")

    def _password(self) -> Path:
        path = self.folder / "password"
        path.write_text("secret1")
        path.chmod(0o644)
        return path

    def _call(self, program: str, *arguments: str) -> None:
        assert PROGRAMS is not None
        done = subprocess.run(
            [str(PROGRAMS / program), *arguments], cwd=self.folder, user=self._uid(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def _uid(self) -> str | None:
        return self.user if os.geteuid() == 0 else None

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._call("pg_ctl", "--pgdata=data", "--wait", f"--log={self.folder}/log", f"--options={options}", "start")

    def url_of_new_database(self, name: str) -> str:
        import psycopg2

        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        connection.autocommit = True
        connection.cursor().execute(f"create database {name}")
        connection.close()
        return self.url.removesuffix("postgres") + name

    def stop(self) -> None:
        self._call("pg_ctl", "--pgdata=data", "--wait", "--mode=fast", "stop")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if PROGRAMS is None:
        pytest.skip("no Postgres server is here: apt-get install postgresql")
    if find_spec("dagster_postgres") is None:
        pytest.skip("dagster-postgres is not installed: make setup-cluster")
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp") as folder:
        found = Server(Path(folder))
        found.start()
        try:
            yield found
        finally:
            found.stop()


@pytest.fixture(scope="module")
def lab(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, str], Path]:
    """A caller of commands, its environment, and the home; nothing is built there yet."""
    folder = tmp_path_factory.mktemp("lab")
    env = {"AGAR_HOME": str(folder / "home"), "AGAR_CONFIGS": str(prepare(folder)), "AGAR_PIPELINE": "plates"}
    env |= {"AGAR_DAGSTER_POSTGRES_URL": server.url, "AGAR_MAX_RUNS": "3"}
    return runner(env), env, folder / "home"


def runs_of(run: Run, home: Path) -> list[str]:
    listed = run("dagster", "run", "list", DAGSTER_HOME=str(home / "dagster"))
    assert listed.returncode == 0, listed.stderr
    return re.findall(r"^Run: (\S+)", listed.stdout, re.MULTILINE)


def test_the_chain_its_plan_and_its_history(server: Server, lab: tuple[Run, dict[str, str], Path]) -> None:
    run, env, home = lab
    assert run("agar", "plan").returncode == 10
    exported = run("agar", "env")
    assert exported.returncode == 0, exported.stderr
    where = ("-m", "agar_pipeline.definitions", "--select", "*")
    done = run("dagster", "asset", "materialize", *where, DAGSTER_HOME=str(home / "dagster"))
    assert done.returncode == 0, done.stderr[-3000:]
    plan = run("agar", "plan", "--json")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    before = runs_of(run, home)
    assert len(before) == 1
    again = run("agar", "run")
    assert again.returncode == 0, again.stderr

    server.stop()
    server.start()
    assert runs_of(run, home) == before, "what is current starts no run, and the history outlives the server"
    assert {asset["state"] for asset in json.loads(plan.stdout)["assets"]} == {"fresh"}
    edited = Path(env["AGAR_CONFIGS"]) / "experiment" / "small.yaml"
    edited.write_text(edited.read_text().replace("max_steps: 3", "max_steps: 2"))
    stale = run("agar", "plan", "--json")
    assert stale.returncode == 10
    states = {asset["asset"]: asset["state"] for asset in json.loads(stale.stdout)["assets"]}
    assert {states[key.asset] for key in DATA} == {"fresh"}
    built = run("agar", "run")
    assert built.returncode == 0, built.stderr
    assert run("agar", "plan").returncode == 0
    assert len(runs_of(run, home)) == 2
    assert not list((home / "dagster").rglob("*.db")), "nothing went to SQLite"
    assert "secret1" not in "".join(path.read_text() for path in (home / "dagster").glob("*.yaml"))


def test_a_home_with_its_history_there_does_not_begin_another(lab: tuple[Run, dict[str, str], Path]) -> None:
    run, env, home = lab
    assert run("agar", "env").returncode == 0
    without = runner({name: value for name, value in env.items() if name != "AGAR_DAGSTER_POSTGRES_URL"})
    refused = without("agar", "plan")
    assert refused.returncode == 2
    assert (
        f"{home} has its Dagster history in Postgres, and AGAR_DAGSTER_POSTGRES_URL is not set\nset AGAR_D"
        in refused.stderr
    )
    driverless = run("agar", "plan", AGAR_DAGSTER_POSTGRES_URL="postgresql://agar:secret1@127.0.0.1/postgres")
    assert driverless.returncode == 2
    assert "set AGAR_DAGSTER_POSTGRES_URL=postgresql+psycopg2://" in driverless.stderr
    assert "secret1" not in driverless.stderr
    unlimited = run("agar", "plan", AGAR_MAX_RUNS="many")
    assert unlimited.returncode == 2
    assert "AGAR_MAX_RUNS=many must be a whole number" in unlimited.stderr


@contextlib.contextmanager
def service(name: str, env: dict[str, str], swaps: dict[str, str]) -> Iterator[None]:
    """What compose.yaml starts as this service, as a process here: its image's entrypoint and its command."""
    command = [swaps.get(word, word) for word in COMPOSE[name]["command"]]
    path = f"{BIN}:{os.environ['PATH']}"
    with (Path(env["AGAR_HOME"]) / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(CHECKOUT / "deploy" / "entrypoint.sh"), *command], env={"HOME": "/tmp", "PATH": path, **env},
            cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    with running(process, patience_s=15):
        yield


def ask(port: int, query: str) -> dict:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())["data"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error


def wait_for(port: int, query: str, good: str, timeout_s: float = 120) -> str:
    """Ask until the answer holds `good`."""
    deadline, text = time.monotonic() + timeout_s, ""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            text = json.dumps(ask(port, query))
            if good in text:
                return text
        time.sleep(1)
    raise AssertionError(f"no {good} within {timeout_s} s, but {text[:2000]}")


LAUNCH = """mutation {launchRun(executionParams: {selector: {repositoryLocationName: "agar_pipeline",
 repositoryName: "__repository__", jobName: "data"}}) {__typename
 ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""


def test_webserver_daemon_and_code_location_as_compose_starts_them(
    lab: tuple[Run, dict[str, str], Path], tmp_path: Path
) -> None:
    _, env, home = lab
    home.mkdir(exist_ok=True)
    code, web = free_port(), free_port()
    workspace = (CHECKOUT / "deploy" / "workspace.yaml").read_text()
    (tmp_path / "workspace.yaml").write_text(
        workspace.replace("host: code", "host: 127.0.0.1").replace("4000", str(code))
    )
    swaps = {"4000": str(code), "3000": str(web), "0.0.0.0": "127.0.0.1"}
    swaps["/app/deploy/workspace.yaml"] = str(tmp_path / "workspace.yaml")
    with service("code", env, swaps), service("webserver", env, swaps), service("daemon", env, swaps):
        wait_for(
            web,
            "{workspaceOrError {... on Workspace {locationEntries {locationOrLoadError {__typename}}}}}",
            '"RepositoryLocation"',  # an error counts as loaded, and is tried again once the server answers
        )
        wait_for(
            web,
            "{instance {daemonHealth {allDaemonStatuses {daemonType healthy}}}}",
            '"QUEUED_RUN_COORDINATOR", "healthy": true',
        )
        launched = ask(web, LAUNCH)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]
        wait_for(web, f'{{runOrError(runId: "{run_id}") {{... on Run {{status}}}}}}', "SUCCESS")
        assert ask(web, "{instance {runQueueConfig {maxConcurrentRuns}}}")["instance"]["runQueueConfig"] == {
            "maxConcurrentRuns": 3
        }


def test_the_commands_of_the_page(server: Server, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.follow_the_tutorial(until="## 5")
    said = reader.follow(
        "docs/how-to/production.md",
        {"postgresql+psycopg2://agar:PASSWORD@db.example/agar": server.url_of_new_database("page")},
    )
    assert "answers 200" in said
