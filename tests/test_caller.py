"""Who calls: trust is a kind, and an account always has an id."""

import pytest

from shortener.caller import TRUSTED, Caller, Kind


def test_a_service_alone_is_trusted() -> None:
    assert TRUSTED.is_trusted
    assert not Caller().is_trusted
    assert not Caller(Kind.ACCOUNT, account="1").is_trusted
    assert not Caller(address="").is_trusted


@pytest.mark.parametrize(("kind", "account"), [(Kind.ACCOUNT, ""), (Kind.SERVICE, "1"), (Kind.ANYONE, "1")])
def test_an_account_has_an_id_and_nobody_else_has(kind: Kind, account: str) -> None:
    with pytest.raises(ValueError, match="an account has an id"):
        Caller(kind, account=account)
