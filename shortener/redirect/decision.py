"""What comes of a visit to a link: one rule for the lane and the handler."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from shortener.links.model import Link
from shortener.redirect.ports import Withheld


class Decision(Enum):
    """What a visitor gets."""

    REDIRECT = auto()
    WARNING = auto()
    """The operator withholds the link."""
    GONE = auto()
    """It has expired (from `expires_at` on) or was deleted."""
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Visit:
    """What a request says about its visitor; texts are empty when not sent.

    `forwarded` are the values of the X-Forwarded-For lines, in order.
    """

    user_agent: str
    referrer: str
    forwarded: tuple[str, ...]


Decide: TypeAlias = Callable[[Link | None, Visit, int], Decision]


def decider(withheld: Withheld | None) -> Decide:
    """Return the rule; links that are `withheld` lead to a warning."""
    redirect, gone = Decision.REDIRECT, Decision.GONE

    def decide(link: Link | None, visit: Visit, now: int) -> Decision:
        """Decide about a visit at `now`, in Unix seconds. No rule of ours looks at the visit yet."""
        if link is None:
            return Decision.UNKNOWN
        if link.deleted_at or (link.expires_at and now >= link.expires_at):
            return gone
        return redirect if withheld is None or not withheld(link) else Decision.WARNING

    return decide
