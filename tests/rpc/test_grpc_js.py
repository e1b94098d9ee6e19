"""The whole contract, called by gRPC's official JavaScript client.

Its packages come by `npm ci` in tests/rpc/js; without them, or without node, these tests are skipped.
"""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.conftest import both_servers
from tests.support.process import Running

FOLDER = Path(__file__).parent / "js"
PROTOS = Path(__file__).parents[2] / "protos"

pytestmark = [
    both_servers,
    pytest.mark.skipif(not shutil.which("node"), reason="node is not installed"),
    pytest.mark.skipif(
        not (FOLDER / "node_modules" / "@grpc").exists(),
        reason="@grpc/grpc-js is not installed: run `npm ci` in tests/rpc/js",
    ),
]


@pytest.fixture(scope="module")
def results(server: Running) -> dict[str, Any]:
    """What each call gave. The client runs once a server; numbers and texts that differ each time are checked here."""
    packs = ["gzip"] if server.settings["GRPC_SERVER"] == "own" else []  # grpclib knows no compression
    command = ["node", str(FOLDER / "client.js"), str(PROTOS), server.url, server.user, server.analytics, *packs]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_links(results: dict[str, Any]) -> None:
    made = results["CreateURL"]["ok"]
    code, kept = made["short_code"], "https://example.com/%C3%BCn%C3%AFcode?q=%E2%9C%93"
    assert (made["long_url"], made["expires_at"], len(code)) == (kept, 0, 7)
    assert base64.b64decode(made["qr_code"]).startswith(b"\x89PNG")
    assert results["GetURL"]["ok"] == {
        "url": {
            "short_code": code,
            "long_url": kept,
            "clicks": 0,
            "created_at": made["created_at"],
            "updated_at": made["created_at"],
            "is_active": True,
            "expires_at": 0,
            "short_url": made["short_url"],
        },
        "found": True,
    }
    custom = results["CreateCustomURL"]["ok"]
    assert (custom["short_code"], custom["expires_at"], custom["qr_code"]) == ("js-link", 4102444800, "")
    page = results["ListURLs"]["ok"]
    assert ([link["short_code"] for link in page["urls"]], page["total"], page["has_more"]) == (["js-link"], 2, True)
    assert results["IncrementClicks"]["ok"] == {"clicks": 1}
    assert results["DeleteURL"]["ok"] == {"success": True}


def test_statistics(results: dict[str, Any]) -> None:
    assert results["TrackClick"]["ok"]["success"] is True
    unknown = {"country_code": "ZZ", "country_name": "Unknown", "click_count": 1, "percentage": 100}
    assert results["GetStats"]["ok"] == {
        "short_code": results["CreateURL"]["ok"]["short_code"],
        "total_clicks": 1,
        "unique_visitors": 1,
        "countries": [unknown],
        "referrers": [{"referer": "https://a.example", "click_count": 1, "percentage": 100}],
        "device_stats": {"mobile": 0, "desktop": 0, "tablet": 0, "other": 1},
    }
    assert results["GetTimeSeries"]["ok"]["points"] == [
        {"timestamp": 1704067200, "clicks": 0, "unique_visitors": 0},
        {"timestamp": 1704153600, "clicks": 1, "unique_visitors": 1},
    ]
    assert results["GetGeoStats"]["ok"] == {"countries": [unknown], "cities": []}


def test_accounts(results: dict[str, Any]) -> None:
    registered, login = results["Register"]["ok"], results["Login"]["ok"]
    assert (registered["email"], registered["name"]) == ("js@example.com", "Jürgen S")
    assert (login["user_id"], login["name"]) == (registered["user_id"], "Jürgen S")
    assert results["GetProfile"]["ok"]["user"]["id"] == registered["user_id"]
    assert results["UpdateProfile"]["ok"]["user"]["name"] == "Jay S"
    assert results["ValidateToken"]["ok"]["valid"] is True
    assert results["ValidateToken"]["ok"]["user_id"] == registered["user_id"]
    account = results["CreateUser"]["ok"]
    assert (account["email"], account["username"]) == ("js2@example.com", "jsuser")
    assert results["GetUser"]["ok"] == account
    assert results["ListUsers"]["ok"] == {"users": [account], "total": 2, "has_more": True}


def detail(result: dict[str, Any], kind: Any) -> Any:
    """Return the one error detail that came with a failure."""
    [packed] = status_pb2.Status.FromString(base64.b64decode(result["details"])).details
    found = kind()
    assert packed.Unpack(found)
    return found


def test_failures(results: dict[str, Any]) -> None:
    invalid = results["invalid"]
    assert (invalid["code"], invalid["message"]) == (3, "long_url is required")
    [violation] = detail(invalid, error_details_pb2.BadRequest).field_violations
    assert (violation.field, violation.description) == ("long_url", "long_url is required")
    assert results["conflict"]["code"] == 6
    info = detail(results["conflict"], error_details_pb2.ErrorInfo)
    assert (info.reason, set(info.metadata)) == (
        "ALREADY_EXISTS", {"field", "suggestion_1", "suggestion_2", "suggestion_3"},
    )  # fmt: skip
    assert results["missing"]["code"] == 5
    assert results["deadline"]["code"] == 4


def test_streams_and_many_calls_at_once(results: dict[str, Any]) -> None:
    assert results["many"] == 200
    assert results["health"] == "0801"
    assert results["watched"] == ["0801"]
    assert "user.UserService" in results["reflected"]
