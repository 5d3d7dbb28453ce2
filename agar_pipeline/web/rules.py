"""Decides from a request's headers whether it is refused. Pure functions, without input or output."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

TOKEN = "token"  # noqa: S105 - the name of the parameter
"""Name of the token in the query of the first address."""
_LONGEST_PATH, _LONGEST_PART = 4096, 255
"""Limits in characters (path) and bytes (part of a path), as for files."""
_OWN_SITE = (None, "same-origin", "none")
"""Accepted values of Sec-Fetch-Site: no browser; a page of ours; typed by the user. `same-site` is not among them,
because
it can be another user's port."""


@dataclass(frozen=True)
class AccessRules:
    """Which requests are answered."""

    port: int
    token: str
    """A secret that is new at each start of the server."""
    more_hosts: tuple[str, ...] = ()
    """Accepted Host headers in addition to this machine's, for a tunnel or a proxy in front."""
    in_body_only: tuple[str, ...] = ("/graphql",)
    """Paths that accept GraphQL only in a body, not in the address, because a link could change data there."""
    any_content: tuple[str, ...] = ()
    """Paths whose own page sends JSON without the content type."""
    shapes: tuple[tuple[str, str], ...] = ()
    """Beginning of a path → regular expression of the paths that the application can answer. Others make it fail."""

    @property
    def cookie(self) -> str:
        """Name of the cookie. It contains the port, because browsers send the cookies of a host to all of its ports."""
        return f"agar_{self.port}"

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names this server. Any other name was made to point here from outside."""
        return host.lower() in {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost", "[::1]")} | {
            more.lower() for more in self.more_hosts
        }

    def opens(self, word: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return hmac.compare_digest(word.encode("utf-8", "surrogateescape"), self.token.encode())


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    reason: str


class Request:
    """The parts of an ASGI scope that the rules use."""

    def __init__(self, scope: Any) -> None:
        self.is_websocket = scope["type"] == "websocket"
        self.method = "GET" if self.is_websocket else scope["method"]
        self.path = scope["path"]
        self.query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        self._headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]

    def all(self, name: str) -> list[str]:
        return [value for found, value in self._headers if found == name]

    def header(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def cookies(self, name: str) -> list[str]:
        """Return all cookies of the name, because a page of another port can set one before ours."""
        pairs = [pair.strip().partition("=") for text in self.all("cookie") for pair in text.split(";")]
        return [value for found, _, value in pairs if found == name]

    @property
    def is_page(self) -> bool:
        """Whether a browser opens this as a document, for example through a link."""
        as_document = (self.header("sec-fetch-mode"), self.header("sec-fetch-dest")) == ("navigate", "document")
        return not self.is_websocket and self.method == "GET" and as_document

    @property
    def content_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def has_body(self) -> bool:
        return self.header("content-length") not in (None, "0") or self.header("transfer-encoding") is not None


def shows_token(request: Request, rules: AccessRules) -> bool:
    """Whether this is the first address, with the token in its query."""
    return request.method in ("GET", "HEAD") and any(
        name == TOKEN and rules.opens(value) for name, value in request.query
    )


def without_token(request: Request) -> str:
    """Return the target of the first address, which is always a path of this server."""
    rest = urlencode([pair for pair in request.query if pair[0] != TOKEN])
    return "/" + quote(request.path.lstrip("/")) + (f"?{rest}" if rest else "")


def find_refusal(request: Request, rules: AccessRules) -> Refusal | None:
    """Return why the request must not reach the application; None if it may."""
    hosts, origin = request.all("host"), request.header("origin")
    if len(hosts) != 1 or not rules.is_ours(hosts[0]):
        return Refusal(
            403,
            f"this server does not answer to the name in the Host header: open http://127.0.0.1:{rules.port}/, "
            "or start it with --allow-host NAME:PORT",
        )
    if origin is not None and origin.lower() not in (f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}"):
        return Refusal(403, "the request came from a page of another site (Origin): open the address yourself")
    if request.header("sec-fetch-site") not in _OWN_SITE and not _is_plain_link(request, rules):
        return Refusal(
            403, "the request came from a page of another site (Sec-Fetch-Site): copy the address into the address bar"
        )
    if not shows_token(request, rules) and not any(rules.opens(word) for word in request.cookies(rules.cookie)):
        return Refusal(
            401,
            "open the address with ?token=… that the command printed in its terminal; "
            "each start of the server makes a new token",
        )
    return _find_path_refusal(request.path, rules) or _find_form_refusal(request, rules)


def _find_path_refusal(path: str, rules: AccessRules) -> Refusal | None:
    """Refuse a path that leads out of a folder or cannot exist; `path` is percent-decoded."""
    parts = path.split("/")
    is_odd = ".." in parts or "\\" in path or not path.isprintable() or "\ufffd" in path
    is_overlong = (
        len(path) > _LONGEST_PATH or max(len(part.encode("utf-8", "surrogatepass")) for part in parts) > _LONGEST_PART
    )
    is_other = any(path.startswith(start) and not re.fullmatch(shape, path) for start, shape in rules.shapes)
    return Refusal(404, "there is no page of this name") if is_odd or is_overlong or is_other else None


def _is_plain_link(request: Request, rules: AccessRules) -> bool:
    """Whether this is a link on another site that opens a page of ours, without a query or with the token."""
    return request.is_page and (not request.query or shows_token(request, rules))


def _find_form_refusal(request: Request, rules: AccessRules) -> Refusal | None:
    asks_by_address = "query" in dict(request.query) or (request.query and request.method != "POST")
    if asks_by_address and request.path.rstrip("/") in rules.in_body_only and not request.is_websocket:
        return Refusal(405, f"{request.path} accepts its query only in the body of a POST, as application/json")
    if request.method in ("GET", "HEAD", "OPTIONS") or request.path in rules.any_content:
        return None
    kind = request.content_type
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if is_json or (not kind and not request.has_body):
        return None
    return Refusal(415, f"the content type is {kind or 'missing'}: send application/json")
