"""A page of another port that tries at a server what a browser lets it."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

_PAGE = """<!doctype html><title>trying</title><body><script>
const server = 'http://127.0.0.1:PORT', mutation = MUTATION, asked = [];
const ended = of => new Promise(done => ['load', 'open', 'error'].forEach(name => of.addEventListener(name, done)));
const image = new Image();
image.src = server + '/graphql?query=' + encodeURIComponent(mutation);
asked.push(ended(image));
for (const [kind, mode] of [['text/plain', 'no-cors'], ['application/json', 'cors']]) {
  const how = {method: 'POST', mode, credentials: 'include', headers: {'content-type': kind}};
  asked.push(fetch(server + '/graphql', {...how, body: JSON.stringify({query: mutation})}).catch(() => null));
  asked.push(fetch(server + '/graphql?query=' + encodeURIComponent(mutation), how).catch(() => null));
}
const logs = new WebSocket('ws://127.0.0.1:PORT/graphql', 'graphql-ws');
logs.onopen = () => document.body.append('the socket is open');
asked.push(ended(logs));
Promise.all(asked).then(() => { document.title = 'tried'; });
</script>
<form method="post" enctype="text/plain" action="http://127.0.0.1:PORT/graphql?query=ESCAPED"><input name="x"></form>
"""


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, page: bytes, *arguments: Any) -> None:
        self.page = page
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@contextlib.contextmanager
def foreign_page(port: int, mutation: str) -> Iterator[int]:
    """Serve the page for the length of the block; yields its port.

    Args:
        port: Of the server that it attacks.
        mutation: GraphQL that changes something there.
    """
    page = _PAGE.replace("PORT", str(port)).replace("MUTATION", json.dumps(mutation))
    page = page.replace("ESCAPED", quote(mutation))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, page.encode()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
