"""The ASGI middleware in front of an application that does not check its requests."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from typing import Any

from agar_pipeline.web.peer import is_another_user
from agar_pipeline.web.rules import AccessRules, Refusal, Request, find_refusal, shows_token, without_token

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

_HEADERS = {
    b"x-frame-options": b"SAMEORIGIN",  # no page of another site can lay ours under its buttons
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"cross-origin-resource-policy": b"same-origin",
}
_FIRST_PAGE = '<!doctype html><meta charset="utf-8"><title>agar</title><meta http-equiv="refresh" content="0; url={}">'
"""A page instead of a redirect: after a link on another site, a browser would follow a redirect without the cookie."""


class Guard:
    """Answers refused requests itself, and passes all others and their answers through."""

    def __init__(self, app: App, rules: AccessRules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        refusal = find_refusal(request, self._rules)
        if is_another_user(scope.get("client"), scope.get("server")):
            refusal = Refusal(403, "this server answers only its owner, and the connection belongs to another user")
        if refusal is not None:
            await _refuse(request, refusal, send)
        elif not request.is_websocket and shows_token(request, self._rules):
            await self._let_in(request, send)
        else:
            await self._app(scope, receive, _protected(send))

    async def _let_in(self, request: Request, send: Send) -> None:
        page = _FIRST_PAGE.format(html.escape(without_token(request)))
        cookie = f"{self._rules.cookie}={self._rules.token}; Path=/; HttpOnly; SameSite=Strict"
        await _answer(send, 200, "text/html", page, {b"set-cookie": cookie.encode()})


def _protected(send: Send) -> Send:
    async def protected(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _HEADERS]
            message = {**message, "headers": [*own, *_HEADERS.items()]}
        await send(message)

    return protected


async def _refuse(request: Request, refusal: Refusal, send: Send) -> None:
    if request.is_websocket:
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await _answer(send, refusal.status, "text/plain", f"agar: {refusal.reason}\n", {})


async def _answer(send: Send, status: int, kind: str, text: str, more: dict[bytes, bytes]) -> None:
    body = text.encode()
    headers = {
        b"content-type": f"{kind}; charset=utf-8".encode(),
        b"content-length": str(len(body)).encode(),
        b"cache-control": b"no-store",
        **_HEADERS,
        **more,
    }
    await send({"type": "http.response.start", "status": status, "headers": list(headers.items())})
    await send({"type": "http.response.body", "body": body})
