"""What comes of a visit, at each border."""

import pytest

from shortener.links.model import Link, is_live
from shortener.redirect.decision import Decision, Visit, decider
from tests.redirect.fakes import NOW, a_link
from tests.support.link_builders import details

VISIT = Visit("agent", "", ())


@pytest.mark.parametrize(
    ("link", "decision"),
    [
        (None, Decision.UNKNOWN),
        (a_link(), Decision.REDIRECT),
        (a_link(expires_at=NOW + 1), Decision.REDIRECT),
        (a_link(expires_at=NOW), Decision.GONE),
        (a_link(expires_at=NOW - 1), Decision.GONE),
        (a_link(deleted_at=NOW), Decision.GONE),
        (a_link(deleted_at=NOW + 1), Decision.GONE),
        (a_link(deleted_at=NOW - 1, expires_at=NOW + 1), Decision.GONE),
    ],
)
def test_a_link_leads_on_while_it_is_live(link: Link | None, decision: Decision) -> None:
    assert decider(None)(link, VISIT, NOW) is decision
    withheld = Decision.WARNING if decision is Decision.REDIRECT else decision
    assert decider(lambda _: True)(link, VISIT, NOW) is withheld
    assert decider(lambda _: False)(link, VISIT, NOW) is decision
    if link is not None:
        shown = is_live(details(expires_at=link.expires_at, deleted_at=link.deleted_at), NOW)
        assert shown is (decision is Decision.REDIRECT)
