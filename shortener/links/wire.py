"""Links as the generated messages show them, for both edges, and nothing else."""

from base64 import b64encode
from typing import Any

from shortener.gen import url as pb
from shortener.links.model import INT32_MAX, Created, LinkPage, LinkRecord
from shortener.links.service import LinkService
from shortener.rpc.codec import build, builder

_get_response = builder(pb.GetUrlResponse)


def _fields(links: LinkService, record: LinkRecord) -> dict[str, Any]:
    """Return the fields of `pb.Url`: a link as it is now."""
    link = record.details
    return {
        "short_code": link.short_code,
        "long_url": link.destination,
        "clicks": record.counts.clicks,
        "created_at": link.created_at,
        "updated_at": link.updated_at,
        "is_active": links.is_live(link),
        "expires_at": link.expires_at,
        "short_url": links.short_url(link.short_code),
    }


def get_response(links: LinkService, record: LinkRecord) -> pb.GetUrlResponse:
    """Answer GetURL with a link that was found."""
    return _get_response(url=_fields(links, record), found=True)


def not_found_response() -> pb.GetUrlResponse:
    """Answer GetURL with found=false, all that is sent before NOT_FOUND."""
    return _get_response()


def list_response(links: LinkService, page: LinkPage) -> pb.ListUrLsResponse:
    """Answer ListURLs."""
    return build(
        pb.ListUrLsResponse,
        urls=[_fields(links, record) for record in page.links],
        total=min(page.total, INT32_MAX),
        has_more=page.has_more,
    )


def create_response(created: Created) -> pb.CreateUrlResponse:
    """Answer CreateURL."""
    return build(pb.CreateUrlResponse, **_created_fields(created))


def create_custom_response(created: Created) -> pb.CreateCustomUrlResponse:
    """Answer CreateCustomURL."""
    return build(pb.CreateCustomUrlResponse, **_created_fields(created))


def _created_fields(created: Created) -> dict[str, Any]:
    return {
        "short_code": created.link.short_code,
        "short_url": created.short_url,
        "long_url": created.link.destination,
        "created_at": created.link.created_at,
        "expires_at": created.link.expires_at,
        "qr_code": b64encode(created.qr_png).decode("ascii"),
    }


def delete_response() -> pb.DeleteUrlResponse:
    """Answer DeleteURL."""
    return build(pb.DeleteUrlResponse, success=True)


def increment_response(clicks: int) -> pb.IncrementClicksResponse:
    """Answer IncrementClicks."""
    return build(pb.IncrementClicksResponse, clicks=clicks)
