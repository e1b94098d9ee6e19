"""Lists the product files that a call's answer passes through: `python -m tests.bench.trace`.

Each call is made once to warm what is made at first use, then again, over a connection of its own, with every Python
function noted, on all threads, from connecting until the answer is read. Generated code does not count. The median
call of several is printed, because background work may fall into one of them.
"""

import asyncio
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType

from grpclib.client import Channel

import shortener
from shortener.gen.analytics import AnalyticsServiceStub, GetStatsRequest, GetStatsResponse
from shortener.gen.url import CreateUrlRequest, CreateUrlResponse, UrlServiceStub

PRODUCT = str(Path(shortener.__file__).parent) + "/"
GENERATED = PRODUCT + "gen/"
TIMES = 5
LINK = "https://example.com/a/long/path"


class Files:
    """The product files in which a function began while `noting`."""

    def __init__(self) -> None:
        self.noting = False
        self._seen: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if self.noting and event == "call" and frame.f_code.co_filename.startswith(PRODUCT):
            self._seen.add(frame.f_code.co_filename)

    async def of(self, call: Callable[[], Awaitable[object]]) -> list[str]:
        """Return the files of the median of several calls, in order."""
        await call()
        found: list[list[str]] = []
        for _ in range(TIMES):
            self._seen.clear()
            self.noting = True
            await call()
            self.noting = False
            found.append(sorted(name.removeprefix(PRODUCT) for name in self._seen if not name.startswith(GENERATED)))
        return sorted(found, key=len)[TIMES // 2]


async def redirect(port: int, code: str) -> None:
    """Follow a link once and read the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /{code} HTTP/1.1\r\nHost: x\r\nUser-Agent: trace\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def create(port: int) -> CreateUrlResponse:
    """Make a link over a connection of its own."""
    async with Channel("127.0.0.1", port) as channel:
        request = CreateUrlRequest(long_url=LINK, user_id="trace", omit_qr_code=True)
        return await UrlServiceStub(channel).create_url(request)


async def statistics(port: int, code: str) -> GetStatsResponse:
    """Ask for a link's statistics over a connection of its own."""
    async with Channel("127.0.0.1", port) as channel:
        return await AnalyticsServiceStub(channel).get_stats(GetStatsRequest(short_code=code))


async def traced(files: Files) -> dict[str, list[str]]:
    """Open the service in a directory of its own and trace the three calls."""
    with tempfile.TemporaryDirectory() as folder:
        config = shortener.Config(
            storage=shortener.Storage(data_dir=folder),
            grpc=shortener.Grpc(url_port=0, user_port=0, analytics_port=0),
            gateway=shortener.Gateway(port=0),
            redirect=shortener.Redirect(port=0),
        )
        async with shortener.open(config) as app:
            ports = {name: int(address.rpartition(":")[2]) for name, address in app.addresses.items()}
            made = await create(ports["url"])
            return {
                "redirect of a link in memory": await files.of(lambda: redirect(ports["redirect"], made.short_code)),
                "CreateURL": await files.of(lambda: create(ports["url"])),
                "GetStats": await files.of(lambda: statistics(ports["url"], made.short_code)),
            }


def main() -> None:
    """Print how many files each call passes through, and which."""
    files = Files()
    threading.setprofile(files)
    sys.setprofile(files)
    for name, passed in asyncio.run(traced(files)).items():
        print(f"{name}: {len(passed)} files\n  " + "\n  ".join(passed))  # noqa: T201 - what the command is for


if __name__ == "__main__":
    main()
