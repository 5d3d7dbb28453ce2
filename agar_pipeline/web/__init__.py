"""Serves the web pages of FiftyOne's App and Dagster on the loopback address, to their owner only.

Neither application checks who sends a request, and both run commands on request. Therefore each one is served behind
`Guard` and on the loopback address only. Three kinds of callers are refused: other users of this machine (by a token,
and on Linux by the owner of the connection), pages of other sites in the owner's browser (by the headers Host, Origin
and Sec-Fetch-Site), and simple requests that a browser sends to any site without asking (by the content type).

- `rules`: what a request must contain.
- `peer`: which user's process sends a request.
- `guard`: the middleware.
- `serving`: the port, the server, and the link with the token.
"""

from agar_pipeline.web.guard import Guard
from agar_pipeline.web.rules import AccessRules
from agar_pipeline.web.serving import Address, listen, published, serve
