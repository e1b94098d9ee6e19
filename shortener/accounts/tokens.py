"""JSON Web Tokens signed with HMAC-SHA256 (RFC 7519, RFC 8725): made, read strictly, and remembered."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import NoReturn

import cachetools
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from shortener import errors
from shortener.accounts.model import Account, parse_account_id
from shortener.accounts.ports import Claims, SignedIn
from shortener.clock import Clock
from shortener.config.sections import Auth
from shortener.ids import NewId

TOKEN_LENGTH_MAX = 4096

_ALGORITHM = "HS256"
_TYPE = "JWT"
_HEADER_NAMES = frozenset({"alg", "kid", "typ"})
_TEXT_LENGTH_MAX = 256
_TIME_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z


class JwtTokens:
    """`Tokens` as JWTs. The first key signs, all of them verify, each under its own `kid`.

    A valid token is remembered by its digest, the last `cache_size_max` of them, so that hot ones are not verified
    again; their end is still exact to the second.
    """

    def __init__(self, keys: Sequence[bytes], auth: Auth, *, clock: Clock, new_id: NewId) -> None:
        self._keys = {key_id(key): OctKey.import_key(key) for key in keys}
        self._signing_kid = key_id(keys[0])
        self._auth = auth
        self._clock = clock
        self._new_id = new_id
        self._registry = jws.JWSRegistry(algorithms=[_ALGORITHM])
        self._read: cachetools.LRUCache[bytes, Claims] = cachetools.LRUCache(auth.token_cache_size_max)

    def issue(self, account: Account) -> SignedIn:
        now = self._clock()
        claims: dict[str, str | int] = {
            "iss": self._auth.issuer,
            "aud": self._auth.audience,
            "sub": str(account.id),
            "user_id": str(account.id),
            "email": account.email,
            "iat": now,
            "exp": now + self._auth.token_ttl_seconds,
            "jti": self._new_id(),
        }
        if account.token_version:
            claims["ver"] = account.token_version
        header = {"alg": _ALGORITHM, "typ": _TYPE, "kid": self._signing_kid}
        payload = json.dumps(claims, separators=(",", ":"))
        token = jws.serialize_compact(header, payload, self._keys[self._signing_kid], registry=self._registry)
        return SignedIn(account, token, now + self._auth.token_ttl_seconds)

    def read(self, token: str) -> Claims | None:
        if len(token) > TOKEN_LENGTH_MAX or not token.isascii():
            return None
        digest = hashlib.sha256(token.encode("ascii")).digest()
        claims = self._read.get(digest)
        if claims is None:
            claims = self._verified(token)
            if claims is None:
                return None
            self._read[digest] = claims
        if self._clock() >= claims.expires_at:
            self._read.pop(digest, None)
            return None
        return claims

    def _verified(self, token: str) -> Claims | None:
        """Return what a token of ours says, ended or not."""
        try:
            signed = jws.deserialize_compact(token, self._key_of(token), registry=self._registry)
            return self._claims(_json_object(signed.payload or b""))
        except (JoseError, LookupError, ValueError, RecursionError, errors.Invalid):
            # Bad base64, bad JSON, nesting too deep for the parser, an unknown key, a bad signature, a wrong claim.
            return None

    def _key_of(self, token: str) -> OctKey:
        """Return the key that the header names. Raises ValueError unless the header is one that we could have made.

        No header with `jwk`, `jku`, `crit` or anything else beyond our own three names gets further than this.
        """
        segment = token.partition(".")[0]
        header = _json_object(base64.b64decode(segment + "=" * (-len(segment) % 4), altchars="-_", validate=True))
        if not header.keys() <= _HEADER_NAMES or header.get("alg") != _ALGORITHM or header.get("typ", _TYPE) != _TYPE:
            raise ValueError("not a header of ours")
        return self._keys[_text(header, "kid")]

    def _claims(self, said: dict[str, object]) -> Claims:
        """Return the claims of a signed payload. Raises ValueError or `errors.Invalid` for any that is amiss."""
        claims = Claims(
            user_id=_text(said, "user_id"),
            email=_text(said, "email"),
            issued_at=_time(said, "iat"),
            expires_at=_time(said, "exp"),
            token_id=_text(said, "jti"),
            token_version=_time(said, "ver") if "ver" in said else 0,
        )
        parse_account_id(claims.user_id)
        expected = (claims.user_id, self._auth.issuer, self._auth.audience)
        if (_text(said, "sub"), _text(said, "iss"), _text(said, "aud")) != expected:
            raise ValueError("made by another, or for another")
        if "nbf" in said and self._clock() < _time(said, "nbf"):
            raise ValueError("not valid yet")
        return claims


def key_id(key: bytes) -> str:
    """Return the `kid` of a key: 16 hexadecimal digits of its SHA-256, which tell nothing of a random key."""
    return hashlib.sha256(key).hexdigest()[:16]


def _json_object(data: bytes) -> dict[str, object]:
    """Return the JSON object in `data`. Raises ValueError, or RecursionError when it nests too deep."""
    value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _text(values: dict[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= _TEXT_LENGTH_MAX:
        raise ValueError(f"{name} must be a short text")
    return value


def _time(values: dict[str, object], name: str) -> int:
    value = values.get(name)
    if type(value) is not int or not 0 <= value <= _TIME_MAX:  # bool is a subclass of int
        raise ValueError(f"{name} must be Unix seconds")
    return value
