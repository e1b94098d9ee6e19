"""An export holds everything, is one JSON document however it was cut, and is refused to whom it is not."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from shortener import errors
from shortener.app import App
from shortener.caller import Caller, Kind
from shortener.links import LinkRef
from shortener.links.sqlite import SqliteLinkStore
from shortener.privacy import export
from shortener.privacy.api import ExportRequest, PrivacyApi
from shortener.privacy.export import Cursor, Exporter, parse_cursor
from tests.privacy.conftest import DESTINATION, EMAIL, LONG_DESTINATION, fill, register
from tests.support.click_builders import a_click, a_visitor


def exporter(app: App) -> Exporter:
    return app.privacy.exporter


async def document(app: App, account_id: str, *, with_clicks: bool = False) -> Any:
    text = ""
    async for part in exporter(app).parts(int(account_id), with_clicks=with_clicks):
        text += part
    return json.loads(text)


async def test_an_export_holds_everything(app: App) -> None:
    owner, _ = await register(app)
    other, _ = await register(app, "other@example.com")
    codes, _ = await fill(app, owner, "mine"), await fill(app, other, "theirs")
    account = await app.accounts.get_user(int(owner))
    links = {code: record.details for code, record in (await SqliteLinkStore(app.core.database).records(codes)).items()}

    found = await document(app, owner, with_clicks=True)

    clicks = [link.pop("raw_clicks") for link in found["links"]]
    assert found == {
        "format": "shortener-account-1",
        "exported_at": found["exported_at"],
        "account": {
            "id": owner,
            "email": EMAIL,
            "username": "",
            "name": "Canary Person",
            "created_at": account.created_at,
            "updated_at": account.updated_at,
        },
        "links": [
            {
                "short_code": code,
                "short_url": app.links.short_url(code),
                "long_url": LONG_DESTINATION if code == codes[0] else f"{DESTINATION}/{code}",
                "created_at": links[code].created_at,
                "updated_at": links[code].updated_at,
                "expires_at": 1_700_000_000 if code == codes[1] else 0,
                "deleted_at": links[code].deleted_at,
                "is_alias": True,
                "clicks": 2,
                "statistics": {
                    "unique_visitors": 2,
                    "clicks_by": {
                        "country": {"ZZ": 2},
                        "device": {"mobile": 2},
                        "referrer": {"https://news.example": 2},
                    },
                },
            }
            for code in codes
        ],
    }
    assert [bool(link["deleted_at"]) for link in found["links"]] == [False, False, True]
    for of_link in clicks:
        assert [{**click, "clicked_at": 0} for click in of_link] == [
            {
                "clicked_at": 0,
                "country": "ZZ",
                "city": "",
                "referrer": "https://news.example",
                "device": "mobile",
                "is_bot": False,
            }
        ] * 2
    assert "raw_clicks" not in (await document(app, owner))["links"][0]


async def test_an_account_without_links_has_a_document(app: App) -> None:
    owner, _ = await register(app)
    assert (await document(app, owner, with_clicks=True))["links"] == []


async def test_any_cut_gives_the_same_document(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, _ = await register(app)
    await fill(app, owner, "mine")
    link = await app.links.details("mine-live")
    clicks = [
        replace(a_click(at=link.created_at + number // 3, visitor=a_visitor(number)), ref=LinkRef(*link.ref))
        for number in range(25)
    ]
    await app.core.database.transaction(lambda tx: app.analytics.clicks.append(tx, clicks))
    whole = {with_clicks: await document(app, owner, with_clicks=with_clicks) for with_clicks in (False, True)}
    assert len(whole[True]["links"][0]["raw_clicks"]) == 27

    for length, links, at_once in ((1, 1, 1), (1, 100, 5), (5000, 2, 27), (7000, 2, 2), (100_000, 1, 9)):
        monkeypatch.setattr(export, "PART_LENGTH", length)
        monkeypatch.setattr(export, "_LINKS_AT_ONCE", links)
        monkeypatch.setattr("shortener.analytics.sqlite.export._CLICKS_AT_ONCE", at_once)
        for with_clicks, expected in whole.items():
            found = await document(app, owner, with_clicks=with_clicks)
            assert {**found, "exported_at": 0} == {**expected, "exported_at": 0}


async def test_an_erased_account_has_no_document(app: App) -> None:
    owner, _ = await register(app)
    await fill(app, owner, "mine")
    parts = exporter(app).parts(int(owner), with_clicks=False)
    assert await anext(parts)
    await app.privacy.erasure.erase(int(owner))
    for cursor in ("", "1"):
        with pytest.raises(errors.NotFound):
            await exporter(app).part(int(owner), cursor, with_clicks=False)


@pytest.mark.parametrize(
    "text", ["x", "-", "1-2", "1-2-3-4", "-1", "1--2", "1-2-", " 1", "²", "9" * 19, "1" * 61, "1-2-3 "]
)
def test_a_bad_cursor_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        parse_cursor(text)
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("text", ["0", "7", "7-5-9", "9223372036854775807"])
def test_a_cursor_is_read_as_it_is_written(text: str) -> None:
    assert str(parse_cursor(text)) == text
    assert type(parse_cursor(text)) is Cursor


async def test_a_cursor_of_another_account_gives_nothing_of_it(app: App) -> None:
    """A part behind the click of a link that is not the account's must not tell that link's clicks."""
    owner, _ = await register(app)
    other, _ = await register(app, "other@example.com")
    await fill(app, other, "theirs")
    for cursor in ("1-0-0", "99-0-0", "0-0-0"):
        with pytest.raises(errors.Invalid) as caught:
            await exporter(app).part(int(owner), cursor, with_clicks=True)
        assert caught.value.field == "cursor"


class SlowExporter:
    """Stands in for an `Exporter`: its documents begin, and never end."""

    async def parts(self, account_id: int, *, with_clicks: bool) -> AsyncIterator[str]:
        while True:
            yield f"{account_id}"


async def test_one_account_leaves_places_for_the_exports_of_others(app: App) -> None:
    ids = [(await register(app, f"{name}@example.com"))[0] for name in ("a", "b", "c")]
    api = PrivacyApi(app.accounts, SlowExporter(), app.privacy.erasure, exports_max=2)  # type: ignore[arg-type] # all it needs

    async def begun(user_id: str) -> AsyncIterator[bytes]:
        stream = (await api.export_account(ExportRequest(), Caller(Kind.ACCOUNT, account=user_id))).body
        assert not isinstance(stream, bytes)
        assert await anext(stream) == user_id.encode()
        return stream

    async def refused(user_id: str) -> bool:
        with pytest.raises(errors.Exhausted) as raised:
            await begun(user_id)
        assert (raised.value.message, raised.value.retry_after_seconds) == ("too many exports are running", 5)
        return raised.value.overload

    first = await begun(ids[0])
    assert await refused(ids[0]) is False
    second = await begun(ids[1])
    assert await refused(ids[2]) is True
    await first.aclose()  # type: ignore[attr-defined] # it is a generator
    third = await begun(ids[2])
    for stream in (second, third):
        await stream.aclose()  # type: ignore[attr-defined] # as above
    await (await begun(ids[0])).aclose()  # type: ignore[attr-defined] # as above
