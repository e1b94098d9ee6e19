"""The operator's lists in the real server: at create, at click, and changed while it runs."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from tests.support import process
from tests.support.clients import Answer, ask, refusal, stubs_of
from tests.support.metrics_client import metrics, value
from tests.support.waiting import wait_for


def until(what: Callable[[], Answer], status: int) -> Answer:
    return wait_for(what, lambda answer: answer.status == status)


def replace(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def test_blocked_hosts_and_links_in_quarantine(tmp_path: Path, pb: SimpleNamespace) -> None:
    hosts, codes = tmp_path / "hosts", tmp_path / "codes"
    hosts.write_text("127.0.0.1 localhost\n0.0.0.0 bad.example\n")
    codes.write_text("")
    settings = {"LINKS_BLOCKLIST_FILE": hosts, "LINKS_QUARANTINE_FILE": codes, "LINKS_LISTS_CHECK_SECONDS": "0.02"}
    with process.running(tmp_path / "data", **settings) as server:
        person = {"email": "l@example.com", "password": "secret-1", "name": "L"}
        token = ask(server.gateway, "POST", "/api/auth/register", person).json["token"]
        answer = ask(server.gateway, "POST", "/api/urls", {"long_url": "https://a.bad.example/"}, token=token)
        assert (answer.status, answer.json["field"]) == (400, "long_url")
        assert answer.json["detail"] == "long_url leads to a host that is blocked here"
        with stubs_of(pb, server) as stubs:
            blocked = pb.url_pb2.CreateCustomURLRequest(alias="ab-cd", long_url="http://BAD.example", user_id="me")
            status, message, details = refusal(stubs.urls.CreateCustomURL, blocked)
            assert (status, message) == ("INVALID_ARGUMENT", "long_url leads to a host that is blocked here")
            assert details[0].field_violations[0].field == "long_url"
            made = [
                stubs.urls.CreateURL(pb.url_pb2.CreateURLRequest(long_url=f"https://{host}/?a=<b>", user_id="me"))
                for host in ("worse.example", "good.example")
            ]
        worse, good = (f"/{each.short_code}" for each in made)
        assert [ask(server.redirect, "GET", path).status for path in (worse, good)] == [302, 302]
        replace(hosts, "worse.example\n")
        page = until(lambda: ask(server.redirect, "GET", worse), 403)
        assert b"https://worse.example/?a=%3Cb%3E" in page.body
        assert "location" not in page.headers
        assert ask(server.redirect, "HEAD", worse).status == 403
        assert ask(server.redirect, "GET", worse, Accept="application/json").json["type"] == "/problems/withheld"
        replace(codes, f"{good[1:]}\n")
        until(lambda: ask(server.redirect, "GET", good), 403)
        codes.unlink()
        name = "shortener_list_failures_total"
        found = wait_for(lambda: metrics(server), lambda found: value(found, name, list="quarantine") >= 1)
        assert ask(server.redirect, "GET", good).status == 403
        assert value(found, "shortener_list_entries", list="blocklist") == 1
        assert value(found, "shortener_redirect_refusals_total", reason="withheld") >= 4
        replace(codes, "")
        until(lambda: ask(server.redirect, "GET", good), 302)
    assert server.log.read_text().count("a list was not read again") == 1


def test_lists_hold_with_durability_power_too(tmp_path: Path, pb: SimpleNamespace) -> None:
    codes = tmp_path / "codes"
    codes.write_text("held-back\n")
    with process.running(tmp_path / "data", LINKS_QUARANTINE_FILE=codes, CLICKS_DURABILITY="power") as server:
        with stubs_of(pb, server) as stubs:
            link = pb.url_pb2.CreateCustomURLRequest(alias="held-back", long_url="http://a.example", user_id="me")
            stubs.urls.CreateCustomURL(link)
        assert [ask(server.redirect, "GET", "/held-back").status for _ in range(2)] == [403, 403]
