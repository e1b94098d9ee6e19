"""Answers of any length over HTTP: part by part, as fast as the client reads."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from shortener.rest.problems import SECURITY_HEADERS

_log = logging.getLogger(__name__)


async def streamed(
    request: web.Request, parts: AsyncIterator[bytes], first: bytes, headers: Mapping[str, str], part_seconds: float
) -> web.StreamResponse:
    """Send a stream, whose first part has been taken already.

    The client must take each part within `part_seconds`. The connection is broken off when it does not, or when
    making a part fails: the end of the last chunk is then missing, and nobody takes what came for the whole.
    """
    response = web.StreamResponse(headers={**SECURITY_HEADERS, **headers})
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            async with asyncio.timeout(part_seconds):
                await response.write(first)
            async for part in parts:
                async with asyncio.timeout(part_seconds):
                    await response.write(part)
    except Exception as error:  # noqa: BLE001 - the answer has begun: there is no other way to tell than to break it off
        if not isinstance(error, ConnectionError):
            _log.warning("an answer was broken off: %s: %s", type(error).__name__, error)
        if request.transport is not None:
            request.transport.abort()
    finally:
        if close := getattr(parts, "aclose", None):
            await close()
    return response
