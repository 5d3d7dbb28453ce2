"""The guard in front of an application that answers whoever asks: real connections, a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import websockets.exceptions
from websockets.sync.client import connect

from agar_pipeline.errors import ServerError
from agar_pipeline.web import AccessRules, Address, Guard, listen
from tests.other_user import answer_of_another_user, require_another_user
from tests.web.callers import AS_JSON, SAME_ORIGIN, Served

LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
CROSS_SITE = {"Sec-Fetch-Site": "cross-site"}


async def _open(scope: Any, receive: Any, send: Any) -> None:
    """Says which path was asked for."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["path"]})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"ALLOWALL")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    import uvicorn

    with listen(0) as listening:
        address = Address(listening.getsockname()[1], "/plates", {"view": "the-worst"})
        rules = AccessRules(address.port, address.token, ("lab.example",), any_content=("/events",))
        running = uvicorn.Server(uvicorn.Config(Guard(_open, rules), log_level="error", lifespan="off"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield Served(address.url, 0)
        running.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 200, id="a program with the cookie"),
        pytest.param(SAME_ORIGIN | {"Origin": "http://127.0.0.1:PORT"}, 200, id="the page itself"),
        pytest.param({"Host": "localhost:PORT", "Origin": "http://localhost:PORT"}, 200, id="by the name localhost"),
        pytest.param({"Host": "lab.example", "Origin": "https://lab.example"}, 200, id="by an allowed name"),
        pytest.param({"Sec-Fetch-Site": "none"} | LINK, 200, id="typed into the address bar"),
        pytest.param(CROSS_SITE | LINK, 200, id="a plain link on another site"),
        pytest.param({"Host": "evil.example:PORT"}, 403, id="a foreign name that points here"),
        pytest.param({"Host": "127.0.0.1"}, 403, id="another port"),
        pytest.param({"Origin": "http://evil.example"}, 403, id="a foreign page"),
        pytest.param({"Origin": "http://127.0.0.1:1"}, 403, id="a page of another port"),
        pytest.param({"Origin": "null"}, 403, id="a page of a sandbox or a file"),
        pytest.param({"Host": "lab.example", "Origin": "http://127.0.0.1:PORT"}, 403, id="ours by another name"),
        pytest.param(CROSS_SITE | {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403, id="a foreign image"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 403, id="a script of another port"),
        pytest.param(CROSS_SITE | LINK | {"Sec-Fetch-Dest": "iframe"}, 403, id="inside a foreign page"),
    ],
)
def test_who_is_answered(server: Served, headers: dict[str, str], status: int) -> None:
    assert server.ask("/page", server.cookie | headers).status == status


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        pytest.param("/tag", AS_JSON, "{}", 200, id="JSON"),
        pytest.param("/tag", {"Content-Type": "application/json-patch+json; charset=utf-8"}, "{}", 200, id="a patch"),
        pytest.param("/tag", {}, "", 200, id="no body"),
        pytest.param("/graphql?op=Assets", AS_JSON, "{}", 200, id="a name in the address of a POST"),
        pytest.param("/events", {"Content-Type": "text/plain"}, "{}", 200, id="where the page itself says nothing"),
        pytest.param("/tag", {"Content-Type": "text/plain"}, "{}", 415, id="a form that looks like JSON"),
        pytest.param("/tag", {"Content-Type": "application/x-www-form-urlencoded"}, "a=b", 415, id="a form"),
        pytest.param("/tag", {"Content-Type": "multipart/form-data; boundary=x"}, "--x--", 415, id="a form with files"),
        pytest.param("/tag", {}, "{}", 415, id="a body of no kind"),
        pytest.param("/graphql?query=x", AS_JSON, "{}", 405, id="a query in the address of a POST"),
        pytest.param("/graphql?query=x", {}, None, 405, id="a query in the address"),
        pytest.param("/graphql/?query=x", {}, None, 405, id="the same with a slash"),
        pytest.param("//page?query=x", CROSS_SITE | LINK, None, 403, id="a link that asks for something"),
    ],
)
def test_what_is_answered(server: Served, path: str, headers: dict[str, str], body: str | None, status: int) -> None:
    assert server.ask(path, server.cookie | headers, body).status == status


def test_the_first_address_gives_a_cookie_that_opens_the_rest(server: Served) -> None:
    first = server.ask(server.url.partition(f":{server.port}")[2], CROSS_SITE | LINK)
    assert first.status == 200
    assert 'content="0; url=/plates?view=the-worst"' in first.body.decode()
    cookie, _, flags = first.headers["set-cookie"].partition("; ")
    assert flags == "Path=/; HttpOnly; SameSite=Strict"
    assert server.ask("/plates", {"Cookie": cookie}).body == b"/plates"
    planted = {"Cookie": f"agar_{server.port}=planted; other=1; {cookie}"}
    assert server.ask("/plates", planted).status == 200, "a cookie that another port added before it"


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/?token=%ff%00"])
def test_nobody_is_answered_without_the_token(server: Served, path: str) -> None:
    answers = [server.ask(path), server.ask(path, {"Cookie": f"agar_{server.port}=wrong"})]
    assert [answer.status for answer in answers] == [401, 401]
    assert b"printed in its terminal" in answers[0].body


def test_the_first_address_leads_to_no_other_server(server: Served) -> None:
    page = server.ask(f"//evil.example/a%22b?token={server.token}").body.decode()
    assert 'url=/evil.example/a%22b"' in page


def test_no_foreign_page_can_frame_ours(server: Served) -> None:
    assert server.ask("/page", server.cookie).headers["x-frame-options"] == "SAMEORIGIN"


def _speak(server: Served, origin: str | None, headers: dict[str, str]) -> str:
    """What a WebSocket says first, or the status of its refusal."""
    try:
        with connect(f"ws://127.0.0.1:{server.port}/logs", origin=origin, additional_headers=headers) as socket:  # type: ignore[arg-type]
            return str(socket.recv(10))
    except websockets.exceptions.InvalidStatus as error:
        return str(error.response.status_code)


def test_websockets_are_held_to_the_same(server: Served) -> None:
    ours = f"http://127.0.0.1:{server.port}"
    assert _speak(server, ours, server.cookie) == "/logs"
    assert _speak(server, "http://evil.example", server.cookie) == "403"
    assert _speak(server, "http://localhost:1", server.cookie) == "403"
    assert _speak(server, ours, {}) == "403"


def test_another_user_is_refused_even_with_a_stolen_cookie(server: Served) -> None:
    require_another_user()
    assert answer_of_another_user(lambda: server.ask("/page", server.cookie).status) == 403
    assert server.ask("/page", server.cookie).status == 200


def test_a_port_that_is_taken_is_said_or_avoided() -> None:
    with listen(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port} of 127.0.0.1 is taken by another program"):
            listen(port, port)
        with listen(port) as another:
            assert another.getsockname()[0] == "127.0.0.1"
            assert another.getsockname()[1] != port


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/media/a%20photo%20%C3%BC.jpg", 200),
        ("/a..b/...", 200),
        ("/..%2fx", 404),
        ("/a/%2e%2e/b", 404),
        ("/a%5c..%5cb", 404),
        ("/a%00", 404),
        ("/a%0d%0ab", 404),
        ("/%ff", 404),
        ("/" + "a" * 256, 404),
        ("/" + "a/" * 2100, 404),
    ],
)
def test_a_path_that_is_no_name_reaches_nobody(server: Served, path: str, status: int) -> None:
    assert server.ask(path, server.cookie).status == status
    assert server.ask(path).status == 401, "who has no token is told nothing"
