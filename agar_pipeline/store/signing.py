"""Signs what goes to a shared store with HMAC-SHA256; the lab holds the key, the store does not.

Without the key, a person who can write to the store cannot create anything that verifies: neither another manifest
(which holds the hash of each file), nor a signed manifest under another name, nor a `latest` that the lab never signed.
Replay is possible: an older `latest` of the same asset that the lab signed still verifies.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass

from agar_pipeline.config.places import store_key_file
from agar_pipeline.errors import ConfigError
from agar_pipeline.files.private_files import read_private

_SHORTEST = 32
"""Minimum length of a key, characters; `secrets.token_hex(32)` returns 64."""
_MAKE_ONE = """(umask 077; python3 -c "import secrets; print(secrets.token_hex(32))" > FILE)"""


@dataclass(frozen=True, repr=False)
class Signer:
    """The lab's keys. The first one signs; all verify, so that old signatures stay valid when a key is replaced."""

    keys: tuple[bytes, ...]

    @classmethod
    def of_environment(cls) -> Signer | None:
        """Read the keys from `AGAR_STORE_KEY_FILE`, one per line; return None if the variable is not set.

        Raises:
            ConfigError: the file cannot be read, others can read it, or it holds no valid key.
        """
        path = store_key_file()
        if path is None:
            return None
        lines = [line.strip() for line in read_private(path, "AGAR_STORE_KEY_FILE").splitlines()]
        keys = tuple(line for line in lines if line and not line.startswith(b"#"))
        if not keys or min(map(len, keys)) < _SHORTEST:
            raise ConfigError(
                f"must hold a key of {_SHORTEST} characters or more in each line",
                where="AGAR_STORE_KEY_FILE",
                value=path,
                next_step=f"make a file with a key: {_MAKE_ONE}",
            )
        return cls(keys)

    def sign(self, names: tuple[str, ...], content: bytes) -> str:
        """Return the signature (64 hex digits) of the content under these names.

        >>> signer = Signer((b"k" * 32,))
        >>> signature = signer.sign(("latest", "split"), b"0123")
        >>> signer.verifies(signature.encode(), ("latest", "split"), b"0123")
        True
        >>> signer.verifies(signature.encode(), ("latest", "leaderboard"), b"0123")
        False
        """
        return _hmac(self.keys[0], names, content)

    def verifies(self, signature: bytes | None, names: tuple[str, ...], content: bytes) -> bool:
        """Return whether one of the keys made this signature; compared in constant time."""
        fits = [
            hmac.compare_digest(_hmac(key, names, content).encode(), (signature or b"").strip()) for key in self.keys
        ]
        return any(fits)


def _hmac(key: bytes, names: tuple[str, ...], content: bytes) -> str:
    return hmac.new(key, json.dumps(names).encode() + b"\n" + content, hashlib.sha256).hexdigest()
