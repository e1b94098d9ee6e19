"""The server connects to nobody: seen by strace at everything it does, and in the long form at the tests themselves."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from tests.support import process
from tests.support.clients import ask

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
ROOT = Path(__file__).parents[2]
CALLS = "connect,sendto,sendmsg,sendmmsg"
SUITE = ("tests/e2e", "tests/contract", "tests/accounts", "tests/links", "tests/analytics", "tests/redirect")
"""What the long form runs under strace: all that starts the program or its commands, and all modules' own tests."""

_LINE = re.compile(r"^(?P<pid>\d+) +(?P<call>\w+)\((?P<arguments>.*)$")
_ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")')


def outbound(trace: str) -> list[str]:
    """The lines of a trace that name an address which is not this machine's."""
    found = []
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None or match["call"] not in CALLS.split(","):
            continue
        addresses = [v4 or v6 for _, v4, v6 in _ADDRESS.findall(match["arguments"])]
        if any(not address.startswith(("127.", "::ffff:127.")) and address != "::1" for address in addresses):
            found.append(line)
    return found


def test_a_trace_is_read_rightly() -> None:
    far = '12 connect(7, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.1")}, 16) = 0'
    far6 = (
        '12 sendto(7, "x", 1, 0, {sa_family=AF_INET6, sin6_port=htons(53), sin6_flowinfo=htonl(0), '
        'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = 1'
    )
    near = far.replace("192.0.2.1", "127.0.0.1")
    near6, mapped = far6.replace("2001:db8::1", "::1"), far6.replace("2001:db8::1", "::ffff:127.0.0.1")
    path = '12 connect(7, {sa_family=AF_UNIX, sun_path="/run/nscd/socket"}, 110) = -1 ENOENT'
    connected = '12 sendto(7, "x", 1, 0, NULL, 0) = 1'
    assert outbound(f"{far}\n{near}\n{far6}\n{near6}\n{mapped}\n{path}\n{connected}") == [far, far6]


def use(server: process.Running, pb: SimpleNamespace) -> None:
    """Ask for everything there is: each RPC, each route, redirects of every kind."""
    person = {"email": "o@example.com", "password": "secret-1", "name": "O"}
    token = ask(server.gateway, "POST", "/api/auth/register", person).json["token"]
    made = ask(server.gateway, "POST", "/api/urls", {"long_url": "https://nowhere.example/"}, token=token).json
    code = made["short_code"]
    ask(server.gateway, "POST", "/api/urls/custom", {"alias": "mine", "long_url": "http://192.0.2.7/"}, token=token)
    ask(server.gateway, "POST", "/api/auth/login", person)
    routes = [("GET", "/api/auth/profile"), ("PATCH", "/api/auth/profile"), ("GET", "/api/urls")]
    routes += [
        ("GET", f"/api/urls/{code}{part}") for part in ("", "/qr", "/qr?format=svg", "/stats", "/timeseries", "/geo")
    ]
    routes += [("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/docs.js")]
    for method, path in [*routes, ("DELETE", "/api/urls/mine")]:
        body = {"name": "P"} if method == "PATCH" else None
        assert ask(server.gateway, method, path, body, token=token).status < 300, path
    for path, status in ((f"/{code}", 302), ("/mine", 410), ("/nothere", 404), ("/", 200), ("/robots.txt", 200)):
        headers = {"Referer": "https://far.example/", "User_Agent": "Mozilla/5.0", "X_Forwarded_For": "203.0.113.9"}
        assert ask(server.redirect, "GET", path, **headers).status == status
    with grpc.insecure_channel(server.url) as channel:
        urls, users = pb.url_pb2_grpc.URLServiceStub(channel), pb.user_pb2_grpc.UserServiceStub(channel)
        clicks = pb.analytics_pb2_grpc.AnalyticsServiceStub(channel)
        urls.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://nowhere.example/", user_id="o"))
        urls.CreateCustomURL(pb.url_pb2.CreateCustomURLRequest(alias="own", long_url="http://192.0.2.7/", user_id="o"))
        urls.GetURL(pb.url_pb2.GetURLRequest(short_code=code))
        urls.ListURLs(pb.url_pb2.ListURLsRequest(user_id="o"))
        urls.IncrementClicks(pb.url_pb2.IncrementClicksRequest(short_code=code))
        users.Register(pb.user_pb2.RegisterRequest(email="q@example.com", password="secret-1", name="Q"))
        users.Login(pb.user_pb2.LoginRequest(email="q@example.com", password="secret-1"))
        users.GetProfile(pb.user_pb2.GetProfileRequest(token=token))
        users.UpdateProfile(pb.user_pb2.UpdateProfileRequest(token=token, name="R"))
        users.ValidateToken(pb.user_pb2.ValidateTokenRequest(token=token))
        track = pb.analytics_pb2.TrackClickRequest(
            short_code=code, ip_address="203.0.113.9", referer="https://far.example/"
        )
        clicks.TrackClick(track)
        clicks.GetStats(pb.analytics_pb2.GetStatsRequest(short_code=code))
        clicks.GetTimeSeries(pb.analytics_pb2.GetTimeSeriesRequest(short_code=code))
        clicks.GetGeoStats(pb.analytics_pb2.GetGeoStatsRequest(short_code=code))
        urls.DeleteURL(pb.url_pb2.DeleteURLRequest(short_code="own"))


@pytest.mark.timeout(600)
def test_the_server_connects_to_nobody(tmp_path: Path, pb: SimpleNamespace, figure: Callable[[str, str], None]) -> None:
    trace = tmp_path / "trace"
    traced = ("strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS},bind", "-o", str(trace))
    server = process.start(tmp_path / "data", command=(*traced, sys.executable, "-m", "shortener", "serve"))
    try:
        use(server, pb)
    finally:
        os.kill(int(str(server.ready["pid"])), 15)
        server.process.wait(process.STOP_SECONDS)
        server.stop()
    text = trace.read_text()
    assert text.count(" bind(") >= len(process.PORT_KEYS), "nothing was traced"
    connects = [line for line in text.splitlines() if " connect(" in line]
    assert [line for line in connects if "AF_UNIX" not in line] == []
    assert outbound(text) == []
    figure(
        "no outbound connection", f"every RPC but the guide's three, every route, redirects: {len(connects)} connects"
    )


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_in_the_tests_makes_it_connect(tmp_path: Path, figure: Callable[[str, str], None]) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}", "-o", str(trace)]
    command += [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:randomly", "--timeout=600"]
    command += ["--deselect=tests/e2e/test_browser.py", *SUITE]  # a browser has business of its own
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = trace.read_text().splitlines()
    assert len(lines) > 1000
    tests = lines[0].split()[0]  # asks for the name of a machine, as clients may
    assert [line for line in outbound("\n".join(lines)) if not (line.startswith(tests) and "htons(53)" in line)] == []
    [summary] = re.findall(r"(\d+ passed.*)", done.stdout) or [done.stdout[-300:]]
    figure("no outbound connection", f"{' '.join(SUITE)} under strace ({summary}): {len(lines)} sends and connects")
