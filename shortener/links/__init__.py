"""Short links: what they are, and everything that can be done with them."""

from shortener.links.destination import OwnAddresses, own_addresses
from shortener.links.model import Created, Link, LinkPage, LinkRef, NewLink
from shortener.links.ports import LinkStore, NewCode, QrFormat, RenderQr
from shortener.links.service import LinkService

__all__ = [
    "Created",
    "Link",
    "LinkPage",
    "LinkRef",
    "LinkService",
    "LinkStore",
    "NewCode",
    "NewLink",
    "OwnAddresses",
    "QrFormat",
    "RenderQr",
    "own_addresses",
]
