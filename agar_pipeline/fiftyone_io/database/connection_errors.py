"""Explains why a database cannot be reached or refuses a request: the cause and the next step, without the password."""

from __future__ import annotations

import re
from urllib.parse import unquote

from pymongo import errors as mongo_errors

from agar_pipeline.errors import DatabaseError
from agar_pipeline.fiftyone_io.database.settings import OLDEST_MAJOR
from agar_pipeline.text.secrets import mask

SAID_BY_PIPELINE = "snapshot.database"
SELECT_S = 5.0
"""Seconds to find a server."""
_OUT_OF_SPACE = 14031
"""MongoDB's error code for a full disk."""
_IN_VARIABLE = ", and the address into a variable: `database: env:NAME`"


def explain(error: Exception, uri: str, said_by: str = SAID_BY_PIPELINE) -> DatabaseError:
    """Return a DatabaseError with the cause of a database error and the next step, without the password.

    Args:
        error: An error of pymongo, or the ValueError of an address that it cannot parse.
        said_by: The setting, variable or file that holds the address.
    """
    address, text = show_address(uri), mask(str(error))
    return (
        _explain_refusal(error, address, text, said_by)
        or _explain_silence(error, address, text, said_by)
        or DatabaseError(
            f"refused a request: {_first_line(text)}",
            where=f"the database at {address}",
            next_step="correct what the message says; often the user of the database lacks a right",
        )
    )


def _explain_refusal(error: Exception, address: str, text: str, said_by: str) -> DatabaseError | None:
    """Explain why a server that answers cannot be used, or why the address is not valid; None for other errors."""
    code, place = getattr(error, "code", None), f"the database at {address}"
    if code == 18 or "Authentication failed" in text:
        return DatabaseError(
            "refuses the name or password",
            where=place,
            next_step=f"put the right name and password into the address, mongodb://USER:PASSWORD@HOST{_IN_VARIABLE}",
        )
    if code == 13 or "requires authentication" in text:
        return DatabaseError(
            "requires a password",
            where=place,
            next_step=f"put the password into the address, mongodb://USER:PASSWORD@HOST:PORT{_IN_VARIABLE}",
        )
    if isinstance(error, mongo_errors.ConfigurationError | ValueError):
        return DatabaseError(
            f"cannot be used ({_first_line(text)})",
            where=f"the database address {address}",
            next_step=f"write mongodb://HOST:PORT in {said_by}",
        )
    if code == _OUT_OF_SPACE or "No space left" in text:
        return DatabaseError(
            "is full",
            where=f"the disk of the database at {address}",
            next_step="free some space (`agar clean`), or set AGAR_HOME to a larger disk",
        )
    if "wire version" in text:
        return DatabaseError(
            "is too old for this pymongo",
            where=place,
            next_step=f"upgrade mongod to {OLDEST_MAJOR}.0 or newer, or use `database: embedded`",
        )
    return None


def _explain_silence(error: Exception, address: str, text: str, said_by: str) -> DatabaseError | None:
    place = f"the database at {address}"
    if address.startswith("/") and isinstance(error, mongo_errors.ServerSelectionTimeoutError):
        return DatabaseError(
            f"has ended ({_first_line(text)}); no data is lost",
            where=place,
            next_step="run the command again, which starts the database",
        )
    if "refused" in text:
        return DatabaseError(
            "cannot be reached, because nothing listens there (connection refused)",
            where=place,
            next_step=f"start mongod there, or correct {said_by}",
        )
    if re.search(r"getaddrinfo|not known|Temporary failure|No address", text):
        return DatabaseError(
            "has a host that is not known: it is misspelt, or the name server does not answer",
            where=place,
            next_step=f"correct {said_by}",
        )
    if isinstance(error, mongo_errors.ServerSelectionTimeoutError):
        return DatabaseError(
            f"does not answer within {SELECT_S:g} s",
            where=place,
            next_step=f"check {said_by}, that the machine runs, and its firewall",
        )
    if isinstance(error, mongo_errors.AutoReconnect):
        return DatabaseError(
            f"stopped answering ({_first_line(text)})",
            where=place,
            next_step="check that mongod runs there, then run the command again",
        )
    return None


def show_address(uri: str) -> str:
    """Format an address for messages: without password and options; for our own mongod the path of its socket."""
    shown = mask(uri)
    return unquote(shown.removeprefix("mongodb://")) if shown.startswith("mongodb://%2F") else shown


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].split(", full error")[0].split(" (configured timeouts")[0][:200]
