"""Writers call every write method, record which calls were acknowledged, and check the records afterwards.

A writer changes what it made itself and nothing else, and makes one call after another. So when the server is killed,
at most one call of each is open: all its other knowledge is exact.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import grpc

from tests.support.clients import stubs_of
from tests.support.process import Running

PASSWORD = "a password of the tests"
RECENT = 20
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
AGENTS = ("", "curl/8", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0 Safari/537.36")


@dataclass
class MadeLink:
    destination: str
    owner: str
    exists: set[bool] = field(default_factory=lambda: {True})  # what may be: both while a call is open
    deleted: set[bool] = field(default_factory=lambda: {False})
    clicks: set[int] = field(default_factory=lambda: {0})
    increments: set[int] = field(default_factory=lambda: {0})
    click_ids: list[int] = field(default_factory=list)


@dataclass
class MadeAccount:
    names: set[str]
    token: str = ""
    exists: set[bool] = field(default_factory=lambda: {True})


class Writer:
    def __init__(self, name: str, pb: SimpleNamespace, seed: int) -> None:
        self.name, self.pb = name, pb
        self.dice = random.Random(seed)
        self.links: dict[str, MadeLink] = {}
        self.accounts: dict[str, MadeAccount] = {}
        self.unnamed: set[int] = {0}  # how many links there may be whose codes nobody was told
        self.recent: list[str] = []
        self.touched: set[str] = set()
        self.acknowledged = 0
        self.made = 0
        self.errors: list[BaseException] = []

    def run(self, server: Running, stopping: threading.Event) -> None:
        """Write until the server is gone. An error before `stopping` is kept in `errors`."""
        actions: list[Callable[[Any], None]] = [
            self.create, self.create_custom, self.delete, self.increment, self.track, self.update, self.register
        ]  # fmt: skip
        try:
            with stubs_of(self.pb, server) as stubs:
                while True:
                    [action] = self.dice.choices(actions, weights=[20, 10, 8, 20, 20, 6, 1])
                    action(stubs)
                    self.acknowledged += 1
        except grpc.RpcError as error:
            if not stopping.is_set() or error.code() not in GONE:
                self.errors.append(error)
        except BaseException as error:  # noqa: BLE001 - a thread's error is told by the test
            self.errors.append(error)

    def create(self, stubs: Any) -> None:
        destination = self._new("https://example.com/{}")
        (before,) = self.unnamed
        self.unnamed = {before, before + 1}
        request = self.pb.url_pb2.CreateURLRequest(long_url=destination, user_id=self.name)
        answer = stubs.urls.CreateURL(request, timeout=30)
        self.unnamed = {before}
        self._know(answer.short_code, MadeLink(destination, self.name))

    def create_custom(self, stubs: Any) -> None:
        alias = self._new(f"{self.name}-{{}}")
        link = MadeLink(f"https://example.org/{alias}", self.name, exists={True, False})
        self.links[alias] = link
        self.touched.add(alias)
        request = self.pb.url_pb2.CreateCustomURLRequest(alias=alias, long_url=link.destination, user_id=self.name)
        stubs.urls.CreateCustomURL(request, timeout=30)
        link.exists = {True}
        self._know(alias, link)

    def delete(self, stubs: Any) -> None:
        code = self._one(stubs)
        self.recent.remove(code)
        link = self.links[code]
        link.deleted = {True, False}
        stubs.urls.DeleteURL(self.pb.url_pb2.DeleteURLRequest(short_code=code), timeout=30)
        link.deleted = {True}

    def increment(self, stubs: Any) -> None:
        code = self._one(stubs)
        link = self.links[code]
        (before,), (clicks,) = link.increments, link.clicks
        link.increments = {before, before + 1}
        answer = stubs.urls.IncrementClicks(self.pb.url_pb2.IncrementClicksRequest(short_code=code), timeout=30)
        link.increments = {before + 1}
        assert answer.clicks == before + 1 + clicks, code

    def track(self, stubs: Any) -> None:
        code = self._one(stubs)
        link = self.links[code]
        (before,) = link.clicks
        link.clicks = {before, before + 1}
        request = self.pb.analytics_pb2.TrackClickRequest(
            short_code=code,
            ip_address=f"203.0.113.{self.dice.randrange(1, 20)}",
            user_agent=self.dice.choice(AGENTS),
            referer=self.dice.choice(["", "https://news.example/a", "https://b.example"]),
            timestamp=self.dice.choice([0, 0, 1_700_000_000 + 3600 * self.dice.randrange(1000)]),
        )
        answer = stubs.analytics.TrackClick(request, timeout=30)
        link.clicks = {before + 1}
        link.click_ids.append(int(answer.click_id.removeprefix("evt_")))

    def register(self, stubs: Any) -> None:
        email = self._new(f"{self.name}-{{}}@example.com")
        account = self.accounts[email] = MadeAccount({"Anna"}, exists={True, False})
        request = self.pb.user_pb2.RegisterRequest(email=email, password=PASSWORD, name="Anna")
        account.token = stubs.users.Register(request, timeout=30).token
        account.exists = {True}

    def update(self, stubs: Any) -> None:
        known = [account for account in self.accounts.values() if account.token]
        if not known:
            self.register(stubs)
            return
        account = self.dice.choice(known[-RECENT:])
        name = self._new("Name {}")
        account.names |= {name}
        request = self.pb.user_pb2.UpdateProfileRequest(token=account.token, name=name)
        answer = stubs.users.UpdateProfile(request, timeout=30)
        account.names = {name}
        assert answer.user.name == name

    def _new(self, form: str) -> str:
        self.made += 1
        return form.format(self.made)

    def _know(self, code: str, link: MadeLink) -> None:
        self.links[code] = link
        self.touched.add(code)
        self.recent.append(code)
        del self.recent[:-RECENT]

    def _one(self, stubs: Any) -> str:
        if not self.recent:
            self.create(stubs)
        code = self.dice.choice(self.recent)
        self.touched.add(code)
        return code

    # Reading back.

    def settle(self, stubs: Any) -> int:
        """See that all that was touched since the last time, and some that was not, is there; return how many."""
        old = self.dice.sample(sorted(self.links), min(20, len(self.links)))
        for code in (codes := [*self.touched, *old]):
            self._settle_link(stubs, code, self.links[code])
        self.touched.clear()
        self.recent = [code for code in self.recent if self.links[code].deleted == {False}]
        request = self.pb.url_pb2.ListURLsRequest(user_id=self.name, limit=1)
        total = stubs.urls.ListURLs(request, timeout=30).total
        live = sum(link.exists == {True} and link.deleted == {False} for link in self.links.values())
        assert total - live in self.unnamed, (self.name, total, live, self.unnamed)
        self.unnamed = {total - live}
        for email, account in list(self.accounts.items())[-RECENT:]:
            self._settle_account(stubs, email, account)
        return len(codes)

    def log_in(self, stubs: Any) -> None:
        """See that the password of the newest account opens it."""
        for email in [*self.accounts][-1:]:
            answer = stubs.users.Login(self.pb.user_pb2.LoginRequest(email=email, password=PASSWORD), timeout=30)
            assert answer.email == email

    def _settle_link(self, stubs: Any, code: str, link: MadeLink) -> None:
        try:
            url = stubs.urls.GetURL(self.pb.url_pb2.GetURLRequest(short_code=code), timeout=30).url
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            url = None
        if url is None:
            assert link.deleted != {False} or False in link.exists, f"{code} is lost"
            if link.deleted == {False}:
                link.exists = {False}
            else:
                link.deleted = {True}
            return
        assert link.deleted != {True}, f"{code} is back"
        link.exists, link.deleted = {True}, {False}
        assert url.long_url == link.destination
        clicks = stubs.analytics.GetStats(
            self.pb.analytics_pb2.GetStatsRequest(short_code=code), timeout=30
        ).total_clicks
        assert clicks in link.clicks, (code, clicks, link)
        assert url.clicks - clicks in link.increments, (code, url.clicks, link)
        link.clicks, link.increments = {clicks}, {url.clicks - clicks}
        if code not in self.recent:
            self.recent.append(code)

    def _settle_account(self, stubs: Any, email: str, account: MadeAccount) -> None:
        if not account.token:  # its Register was not answered: logging in tells whether it was done
            request = self.pb.user_pb2.LoginRequest(email=email, password=PASSWORD)
            try:
                account.token = stubs.users.Login(request, timeout=30).token
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                    raise
                account.exists = {False}
                del self.accounts[email]
                return
            account.exists = {True}
        user = stubs.users.GetProfile(self.pb.user_pb2.GetProfileRequest(token=account.token), timeout=30).user
        assert (user.email, user.name in account.names) == (email, True), (user, account)
        account.names = {user.name}
