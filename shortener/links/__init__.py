"""Short links: what they are, and everything that can be done with them."""

from shortener.links.destination import OwnAddresses, own_addresses
from shortener.links.model import Created, Link, LinkDetails, LinkDraft, LinkPage, LinkRecord, LinkRef
from shortener.links.service import LinkService

__all__ = [
    "Created",
    "Link",
    "LinkDetails",
    "LinkDraft",
    "LinkPage",
    "LinkRecord",
    "LinkRef",
    "LinkService",
    "OwnAddresses",
    "own_addresses",
]
