"""Argon2id password hashes, made on threads of their own so that the event loop never waits for one."""

import asyncio
import base64
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from shortener import errors
from shortener.config.sections import Auth

_log = logging.getLogger(__name__)

T = TypeVar("T")

# The minimum that OWASP recommends: about 40 ms of one core here, 19 MiB for each thread.
_MEMORY_KIB = 19_456
_PASSES = 2
_LANES = 1
_HASH_BYTES = 32
_SALT_BYTES = 16


class Argon2idPasswords:
    """`Passwords` by Argon2id (RFC 9106) on `hash_threads` threads; `hash_queue_max` more requests may wait for one.

    A request beyond that, or one that would wait longer than `hash_wait_seconds`, is `errors.Exhausted` at once:
    callers give up after some seconds, and hashing for those helps nobody. A caller who is cancelled leaves the queue;
    a hash that has begun runs to its end and holds its thread. Whoever makes it closes it.
    """

    def __init__(self, auth: Auth) -> None:
        self._hasher = PasswordHasher(_PASSES, _MEMORY_KIB, _LANES, _HASH_BYTES, _SALT_BYTES, type=Type.ID)
        self._decoy = _decoy()
        self._executor = ThreadPoolExecutor(auth.hash_threads, thread_name_prefix="passwords")
        self._auth = auth
        self._seconds = 0.0  # what one takes, lately
        self._jobs: set[Future[Any]] = set()  # of any result: only their ends matter
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """How many passwords are being hashed or wait for it."""
        return len(self._jobs)

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Log a hash that no Argon2 made; no password matches it."""
        wanted = self._decoy if password_hash is None else password_hash
        return await self._run(lambda: self._matches(wanted, password))

    def is_outdated(self, password_hash: str) -> bool:
        try:
            return self._hasher.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    async def close(self) -> None:
        """Refuse new work, fail what waits with `errors.Unavailable`, and return when the last thread has ended."""
        self._is_closed = True
        self._executor.shutdown(wait=False)
        # Their callers hear how they end.
        await asyncio.gather(*map(asyncio.wrap_future, tuple(self._jobs)), return_exceptions=True)
        self._executor.shutdown(wait=True)

    async def _run(self, job: Callable[[], T]) -> T:
        self._check_open()
        wait = len(self._jobs) * self._seconds / self._auth.hash_threads
        jobs_max = self._auth.hash_threads + self._auth.hash_queue_max
        if len(self._jobs) >= jobs_max or wait > self._auth.hash_wait_seconds:
            raise errors.Exhausted("too many passwords are being checked", retry_after_seconds=1, overload=True)

        def work() -> T:
            self._check_open()
            started = time.perf_counter()
            try:
                return job()
            finally:
                self._seconds += (time.perf_counter() - started - self._seconds) / 8

        future = self._executor.submit(work)
        # Sets change atomically, and the callback may run on the thread.
        self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)
        return await asyncio.wrap_future(future)

    def _check_open(self) -> None:
        if self._is_closed:
            raise errors.Unavailable("the server is stopping")

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            _log.error("a stored password hash cannot be read")
            return False


def _decoy() -> str:
    """Return a hash in today's format that no password has: checking against it takes as long as any check."""
    parts = (base64.b64encode(secrets.token_bytes(size)) for size in (_SALT_BYTES, _HASH_BYTES))
    salt, digest = (part.rstrip(b"=").decode() for part in parts)
    return f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p={_LANES}${salt}${digest}"
