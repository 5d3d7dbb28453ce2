"""A store that several homes share on a local S3 server: what tests/store/test_shared_store.py says of a folder holds
there, and the chain from two checkouts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from agar_pipeline.artifacts import CocoCache
from agar_pipeline.store import Key, Store, find_faults
from agar_pipeline.store.remote_files import RemoteFiles
from agar_pipeline.store.shared_store import SharedStore
from tests.cluster.test_ray_dagster import prepare
from tests.conftest import CHECKOUT, runner
from tests.docs.pages import Reader
from tests.store.test_shared_store import (  # noqa: F401 - run here with the `url` of this module
    build,
    never,
    object_of,
    test_of_two_that_publish_at_once_one_counts_and_none_is_mixed,
    test_what_has_no_manifest_there_is_absent,
    test_what_one_home_built_another_fetches_and_verifies,
    test_what_was_damaged_there_is_named_never_used_and_replaced,
)
from tests.store.test_store import KEY, write_split

MAIN = "from agar_pipeline.commands import main; main()"


class S3:
    """A server whose buckets last as long as this process; it can be away for a while."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, self._port = self._server.get_host_and_port()
        self.env = {
            "AWS_ENDPOINT_URL": f"http://{host}:{self._port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def stop(self) -> None:
        self._server.stop()

    def start_again(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    if find_spec("s3fs") is None or find_spec("moto") is None:
        pytest.skip("s3fs and moto are not installed: make setup-cluster")
    server = S3()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        from s3fs import S3FileSystem

        S3FileSystem().mkdir("lab")
        yield server
        S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def url(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    address = f"s3://lab/{uuid.uuid4().hex}"
    monkeypatch.setenv("AGAR_STORE", address)
    return address


def _publish_endlessly(root: Path, url: str) -> None:
    """In a process of its own."""
    turn = 0
    while True:
        SharedStore(f"{url}/{turn}").publish(KEY, root)
        turn += 1


def test_a_publication_that_is_killed_is_whole_or_absent(url: str, tmp_path: Path) -> None:
    def write(out_dir: Path) -> None:
        write_split(out_dir)
        for number in range(30):
            (out_dir / f"{number}.bin").write_bytes(os.urandom(20_000))

    store = Store(tmp_path / "a")
    store.shared = None
    root = build(store, [], write).artifact.root
    code = "import sys; from pathlib import Path; from tests.cluster.test_shared_store import _publish_endlessly as p; "
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}p(Path(sys.argv[1]), sys.argv[2])", str(root), url], cwd=CHECKOUT
    )
    deadline = time.monotonic() + 60
    while SharedStore(f"{url}/1").find(KEY, root.name) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = 0
    while (found := SharedStore(f"{url}/{whole}").find(KEY, root.name)) is not None:
        SharedStore(f"{url}/{whole}").fetch_files(KEY, found[0], tmp_path / f"got-{whole}")
        whole += 1
    assert whole >= 2
    shared = SharedStore(f"{url}/{whole}")
    assert shared.publish(KEY, root), "the next one goes on where that one ended"
    shared.fetch_files(KEY, shared.find(KEY, root.name)[0], tmp_path / "last")  # type: ignore[index]


class Checkout:
    """The project in a folder of its own, with its home where a checkout has it without `AGAR_HOME`."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        folder.mkdir()
        for name in ("agar_pipeline", "configs"):
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "workspace.yaml", "dagster.yaml"):
            shutil.copy(CHECKOUT / name, folder)
        self._folder = folder
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_"))}
        self._env = {**kept, **settings, "PYTHONPATH": str(folder), "XDG_DATA_HOME": f"{folder}-data"}

    @property
    def home(self) -> Path:
        return (self._folder / ".agar").resolve(strict=True)

    def __call__(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MAIN, *arguments],
            cwd=self._folder, env=self._env | more, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def states(self) -> dict[str, str]:
        plan = json.loads(self("plan", "--json").stdout)
        return {asset["asset"]: asset["state"] for asset in plan["assets"]}


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_a_second_checkout_computes_nothing(kind: str, s3: S3, tmp_path: Path) -> None:
    configs = prepare(tmp_path)
    address = f"s3://lab/{uuid.uuid4().hex}" if kind == "s3" else f"file://{tmp_path}/shared"
    (tmp_path / "shared").mkdir()
    settings = {"AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "plates", "AGAR_STORE": address, **s3.env}
    first, second = (Checkout(tmp_path / name, settings) for name in ("first", "second"))
    done = first("run")
    assert done.returncode == 0, done.stderr[-3000:]
    plan = first("plan")
    assert plan.returncode == 0, plan.stdout

    elsewhere = second("plan")
    assert elsewhere.returncode == 0, elsewhere.stdout + elsewhere.stderr
    assert elsewhere.stdout.count(f"in {address}, fetched when it is used") == 8
    assert not Store(second.home).assets(), "a plan fetches nothing"
    alone = second("plan", AGAR_STORE="")
    assert alone.returncode == 10
    assert alone.stdout.count("missing") == 8

    done = second("run")
    assert done.returncode == 0, done.stderr[-3000:]
    assert second("plan").returncode == 0
    assert second("run").stdout.strip() == "nothing to do: everything is current"
    ours, theirs = Store(first.home), Store(second.home)
    published = list(ours.published())
    assert len(published) == 8
    for root in published:
        other = theirs.artifacts / root.relative_to(ours.artifacts)
        assert not find_faults(other, thorough=True)
        assert (other / "manifest.json").read_bytes() == (root / "manifest.json").read_bytes(), "fetched, not built"
    cache: CocoCache = theirs.open_latest(Key("coco_cache"))
    assert cache.images_dir == cache.root / cache.dataset()["images_dir"], "shrunk photos went along"
    assert json.loads(second("verify", "--json").stdout)["ok"]
    assert second("explain", "1.jpg").returncode == 0

    assert second("clean", "--yes").returncode == 0
    shutil.rmtree(second.home)
    assert set(second.states().values()) == {"fresh"}, "what a home drops stays in the store"
    change_seed(configs)
    changed = first("run", "split")
    assert changed.returncode == 0, changed.stderr[-3000:]
    assert second.states()["split"] == "fresh"


def change_seed(configs: Path) -> None:
    path = configs / "pipeline" / "plates.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))


def test_a_server_that_is_away_and_an_object_that_rots(s3: S3, tmp_path: Path) -> None:
    configs, address = prepare(tmp_path), f"s3://lab/{uuid.uuid4().hex}"
    settings = {"AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "plates", "AGAR_STORE": address, **s3.env}
    homes = [tmp_path / name for name in ("a", "b", "c")]
    a, b, c = (runner({**settings, "AGAR_HOME": str(home)}) for home in homes)
    assert a("agar", "run", "snapshot").returncode == 0
    s3.stop()
    try:
        start = time.monotonic()
        done = a("agar", "run", "split")
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"note: the shared store {address} cannot be used: " in done.stderr
        assert time.monotonic() - start < 90
        lonely = b("agar", "train", "experiment=small")
        assert lonely.returncode == 1
        assert f"error: the shared store {address} cannot be used: " in lonely.stderr
        assert len(lonely.stderr.strip().splitlines()) <= 3
    finally:
        s3.start_again()
    plan = a("agar", "plan")
    assert "split                    stale" in plan.stdout
    assert f"nothing to compute, only to put into {address}" in plan.stdout
    assert a("agar", "run", "split").returncode == 0
    assert b("agar", "plan").stdout.count(f"in {address}") == 2

    root = Store(homes[0]).latest(Key("split"))
    assert root is not None
    RemoteFiles(address).write(object_of(root, "split.parquet"), b"rotten")
    done = b("agar", "run", "snapshot", "split")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (
        "does not have the content that its name says; it is built again here, and replaced there"
        in done.stdout + done.stderr
    )
    assert c("agar", "run", "snapshot", "split").returncode == 0
    found = Store(homes[2]).open_latest(Key("split")).manifest
    assert found == Store(homes[1]).open_latest(Key("split")).manifest
    assert found.data_version == Store(homes[0]).open_latest(Key("split")).manifest.data_version


def test_the_commands_of_the_page(s3: S3, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.follow_the_tutorial(until="## 5")
    reader.env |= s3.env
    reader.follow("docs/how-to/shared-store.md", {"s3://lab/agar": "s3://lab/page"})
    shutil.rmtree(reader.clone / ".agar" / "artifacts")
    again = reader.follow("docs/how-to/shared-store.md", {"s3://lab/agar": "s3://lab/page"})
    assert again.count("fetched") >= 8, again
