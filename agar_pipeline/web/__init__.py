"""Web pages that we serve, FiftyOne's App and Dagster's: who may ask them, and where they listen.

Neither application checks who asks. Both run commands for whoever can send a request, so each is put behind `Guard`
and listens on the loopback address only. Three kinds of callers are kept out: other users of this machine (by a token,
and on Linux by the owner of the connection), pages of other sites in the owner's browser (by the headers Host, Origin
and Sec-Fetch-Site), and simple requests that a browser sends to any site unasked (by the content type).

`rules`: what a request must show. `peer`: whose process asks. `guard`: the middleware. `address`: the link that lets
its reader in. `serving`: the port.
"""

from agar_pipeline.web.address import Address, published
from agar_pipeline.web.guard import Guard
from agar_pipeline.web.rules import AccessRules
from agar_pipeline.web.serving import listen, serve

__all__ = ["AccessRules", "Address", "Guard", "listen", "published", "serve"]
