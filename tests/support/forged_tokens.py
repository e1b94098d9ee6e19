"""JSON web tokens made by hand, without a library."""

import base64
import hmac
import json

KEY = b"k" * 32


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: object, said: object, key: bytes = KEY, digest: str = "sha256") -> str:
    """A token by hand, with no library in between."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, said)]
    signing_input = ".".join(encoded(part) for part in parts)
    return f"{signing_input}.{encoded(hmac.digest(key, signing_input.encode(), digest))}"
