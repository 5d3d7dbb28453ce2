"""Signatures of what goes to a shared store, made with a key that the lab has and the store has not (HMAC-SHA256).

Who can write to the store, but has not the key, cannot make anything that verifies: no other manifest (which holds the
hash of each file), none under another name, no `latest` to something that was never signed as one. An older `latest`
of the same asset that the lab itself signed can be put back: it verifies.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass

from agar_pipeline.config.places import read_private, store_key_file
from agar_pipeline.errors import ConfigError

_SHORTEST = 32
"""Characters of a key; `secrets.token_hex(32)` gives 64."""
_MAKE_ONE = """(umask 077; python3 -c "import secrets; print(secrets.token_hex(32))" > FILE)"""


@dataclass(frozen=True, repr=False)
class Signer:
    """The lab's keys: the first signs, each verifies, so that a key can be replaced while older signatures hold."""

    keys: tuple[bytes, ...]

    @classmethod
    def of_environment(cls) -> Signer | None:
        """The keys of `AGAR_STORE_KEY_FILE`, one a line; None where it is not set.

        Raises:
            ConfigError: the file cannot be read, others can read it, or it holds no proper key.
        """
        path = store_key_file()
        if path is None:
            return None
        lines = [line.strip() for line in read_private(path, "AGAR_STORE_KEY_FILE").splitlines()]
        keys = tuple(line for line in lines if line and not line.startswith(b"#"))
        if not keys or min(map(len, keys)) < _SHORTEST:
            raise ConfigError(
                f"AGAR_STORE_KEY_FILE: {path} must hold a key of {_SHORTEST} characters or more in each line\n"
                f"make one: {_MAKE_ONE}"
            )
        return cls(keys)

    def sign(self, names: tuple[str, ...], content: bytes) -> str:
        """64 hex digits over the content and what it is signed as."""
        return _hmac(self.keys[0], names, content)

    def verifies(self, signature: bytes | None, names: tuple[str, ...], content: bytes) -> bool:
        """Whether one of the keys made this signature; compared in constant time."""
        fits = [
            hmac.compare_digest(_hmac(key, names, content).encode(), (signature or b"").strip()) for key in self.keys
        ]
        return any(fits)


def _hmac(key: bytes, names: tuple[str, ...], content: bytes) -> str:
    return hmac.new(key, json.dumps(names).encode() + b"\n" + content, hashlib.sha256).hexdigest()
