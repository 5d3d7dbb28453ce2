"""Case 68: FiftyOne's App and Dagster's server, met by another user of the machine and by another site."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psutil
import pytest
import websockets.exceptions
from websockets.sync.client import connect

from agar_pipeline.plates.generate import generate_plates
from tests.acceptance.grading import right
from tests.conftest import BIN, DATABASE_IDLE_S
from tests.other_user import answer_of_another_user, require_another_user
from tests.web.callers import AS_JSON, Served, free_port, serving
from tests.web.foreign_page import foreign_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
PATIENCE_MS = 60_000
TEXT = {"Content-Type": "text/plain"}
CROSS_SITE_IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
LAUNCH = 'mutation {launchRun(executionParams: {selector: {repositoryLocationName: "agar_pipeline.definitions",\
 repositoryName: "__repository__", jobName: "data"}}) {__typename ... on LaunchRunSuccess {run {runId}}}}'
RUNS = "{runsOrError {... on Runs {results {runId}}}}"


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("dagster") / "home"
    command = [str(BIN / "agar"), "ui", "--port", str(free_port())]
    with serving(command, home, "ui", {"AGAR_HOME": str(home), "AGAR_PIPELINE": "demo"}) as server:
        yield server


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generate_plates(folder, 4, size_px=128, seed=5)
    return folder


@pytest.fixture(scope="module")
def fiftyone(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("fiftyone") / "home"
    command = [sys.executable, "-m", "tests.web.app", str(home), str(photos)]
    with serving(command, home, "view", {"AGAR_HOME": str(home), "AGAR_DATABASE_IDLE_S": DATABASE_IDLE_S}) as server:
        yield server


@pytest.fixture(params=["dagster", "fiftyone"])
def server(request: pytest.FixtureRequest) -> Served:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        pytest.param("/", {"Host": "evil.example:PORT"}, None, 403, id="a name that was made to point here"),
        pytest.param("/graphql", {"Origin": "http://evil.example"} | AS_JSON, "{}", 403, id="a foreign page"),
        pytest.param("/graphql?query=mutation", CROSS_SITE_IMAGE, None, 403, id="an image on a foreign page"),
        pytest.param("/graphql?query=mutation", {}, None, 405, id="a mutation by GET"),
        pytest.param("/graphql", TEXT, '{"query": "{ __typename }"}', 415, id="a form of JSON"),
        pytest.param("/operators/execute", TEXT, "{}", 415, id="an operator by a form"),
    ],
)
def test_case_68_another_site_is_refused(
    server: Served, path: str, headers: dict[str, str], body: str | None, status: int
) -> None:
    right(server.ask(path, server.cookie | headers, body).status == status, f"{path} is answered")


@pytest.mark.parametrize("path", ["/", "/graphql", "/media?filepath=/etc/passwd", "/logs/x/out"])
def test_case_68_nobody_is_answered_without_the_token(server: Served, path: str) -> None:
    right(server.ask(path).status == 401, f"{path} is answered")


def test_case_68_a_websocket_of_another_site_is_refused(dagster: Served) -> None:
    def connect_from(origin: str) -> str:
        where: Any = {"origin": origin, "subprotocols": ["graphql-ws"], "additional_headers": dagster.cookie}
        with connect(f"ws://127.0.0.1:{dagster.port}/graphql", **where) as socket:
            socket.send(json.dumps({"type": "connection_init"}))
            return str(socket.recv(20))

    assert "connection_ack" in connect_from(f"http://127.0.0.1:{dagster.port}")
    with pytest.raises(websockets.exceptions.InvalidStatus):
        right(not connect_from("http://evil.example"), "a foreign page listens to logs")


def test_case_68_another_user_gets_neither_in_nor_the_token(server: Served) -> None:
    process = psutil.Process(server.pid)
    (kept,) = Path(process.environ()["AGAR_HOME"], "web").glob("*.json")
    require_another_user(kept.parent.parent)
    right(answer_of_another_user(kept.read_text) == "PermissionError", "the token is readable")
    stolen = answer_of_another_user(lambda: server.ask("/", server.cookie).status)
    right(stolen == 403, "another user comes in with a stolen token")
    right(answer_of_another_user(lambda: server.ask("/").status) in (401, 403), "another user comes in")
    seen = [started.cmdline() for started in (process, *process.parents(), *process.children(recursive=True))]
    right(server.token not in str(seen), "the token is on a command line")


def test_case_68_nothing_else_listens(server: Served) -> None:
    started = psutil.Process(server.pid)
    family = [started, *started.children(recursive=True)]
    ports = {c.laddr for process in family for c in process.net_connections("tcp") if c.status == "LISTEN"}
    right({tuple(address) for address in ports} == {("127.0.0.1", server.port)}, f"these are open: {ports}")


def test_case_68_the_app_reads_photos_of_its_database_only(fiftyone: Served, photos: Path) -> None:
    photo = sorted(photos.glob("*.jpg"))[0]
    shown = fiftyone.ask(f"/media?filepath={quote(str(photo))}", fiftyone.cookie)
    assert shown.body == photo.read_bytes()
    for path in ("/etc/shadow", str(photo.with_suffix(".json")), f"{photo}/../{photo.name}"):
        for query in (f"filepath={path}", f"filepath={quote(str(photo))}&filepath={path}"):
            right(fiftyone.ask(f"/media?{query}", fiftyone.cookie).status == 403, f"{path} is read")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_case_68_a_foreign_page_in_the_owners_browser_launches_nothing(dagster: Served, page: Page, host: str) -> None:
    page.goto(dagster.url)
    page.get_by_text("Overview").first.wait_for()
    with foreign_page(dagster.port, LAUNCH) as port:
        page.goto(f"http://{host}:{port}/")
        page.wait_for_function("document.title == 'tried'")
        right("the socket is open" not in page.inner_text("body"), "a foreign page listens")
        page.evaluate("document.forms[0].submit()")
        page.wait_for_url(f"http://127.0.0.1:{dagster.port}/graphql*")
    right(dagster.query(RUNS)["runsOrError"]["results"] == [], "a foreign page launched a run")


def test_case_68_the_owner_sees_the_worst_plates(fiftyone: Served, page: Page) -> None:
    seen: list[tuple[int, str]] = []
    page.on("response", lambda answer: seen.append((answer.status, answer.url)))
    page.goto(fiftyone.url)
    page.get_by_text("the worst").first.wait_for()
    _wait(page, lambda: sum("/media?" in url for _, url in seen) == 2)
    assert [status for status, url in seen if "/media?" in url] == [200, 200], "the two photos of the view"
    assert not [one for one in seen if one[0] >= 400]
    assert "token" not in page.url


def _wait(page: Page, done: Callable[[], bool]) -> None:
    for _ in range(PATIENCE_MS // 100):
        if done():
            return
        page.wait_for_timeout(100)
