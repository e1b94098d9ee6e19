"""The operations on links, for both wires: messages in and messages out, nothing else."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from shortener import errors
from shortener.api import Content, IdempotencyKey, Operation, Query, Route
from shortener.caller import Caller
from shortener.errors import Code
from shortener.gen import url as pb
from shortener.links.model import INT32_MAX, LinkDraft, LinkRecord
from shortener.links.ports import QrFormat
from shortener.links.service import LinkService
from shortener.rpc.codec import build, builder

_get_response = builder(pb.GetUrlResponse)
_SERVICE = "/url.URLService/"
_QR_TYPES: dict[QrFormat, str] = {"png": "image/png", "svg": "image/svg+xml"}


@dataclass(slots=True)
class QrRequest:
    """Asks for the QR code of a link as an image."""

    short_code: str = ""
    format: str = ""


class LinkApi:
    """The functions. A caller who is an account sees its own links alone; another's is like one that does not exist."""

    def __init__(self, links: LinkService) -> None:
        self._links = links

    async def create_url(
        self, request: pb.CreateUrlRequest, _: Caller, key: IdempotencyKey | None = None
    ) -> pb.CreateUrlResponse:
        """Make a link with a random short code."""
        return build(pb.CreateUrlResponse, **await self._create(request, None, key))

    async def create_custom_url(
        self, request: pb.CreateCustomUrlRequest, _: Caller, key: IdempotencyKey | None = None
    ) -> pb.CreateCustomUrlResponse:
        """Make a link whose short code the caller chooses."""
        return build(pb.CreateCustomUrlResponse, **await self._create(request, request.alias, key))

    async def _create(
        self, request: pb.CreateUrlRequest | pb.CreateCustomUrlRequest, alias: str | None, key: IdempotencyKey | None
    ) -> dict[str, Any]:
        """Return the fields of the answer."""
        draft = LinkDraft(
            request.long_url,
            request.user_id,
            expires_at=request.expires_at,
            alias=alias,
            with_qr=not request.omit_qr_code,
        )
        created = await self._links.create(draft, idempotency_key=key.text if key else None)
        if key:
            key.replayed = created.is_replay
        return {
            "short_code": created.link.short_code,
            "short_url": created.short_url,
            "long_url": created.link.destination,
            "created_at": created.link.created_at,
            "expires_at": created.link.expires_at,
            "qr_code": b64encode(created.qr_png).decode("ascii"),
        }

    async def get_url(self, request: pb.GetUrlRequest, caller: Caller) -> pb.GetUrlResponse:
        """Read a link. Raises `errors.NotFound`; over gRPC a response of found=false goes before that."""
        record = await self._links.get(request.short_code, owner_id=caller.account or None)
        return _get_response(url=self._fields(record), found=True)

    async def list_urls(self, request: pb.ListUrLsRequest, _: Caller) -> pb.ListUrLsResponse:
        """Page through one user's links, newest first."""
        page = await self._links.page(request.user_id, limit=request.limit, offset=request.offset)
        return build(
            pb.ListUrLsResponse,
            urls=[self._fields(record) for record in page.links],
            total=min(page.total, INT32_MAX),
            has_more=page.has_more,
        )

    def _fields(self, record: LinkRecord) -> dict[str, Any]:
        """Return the fields of `pb.Url`: a link as it is now."""
        link = record.details
        return {
            "short_code": link.short_code,
            "long_url": link.destination,
            "clicks": record.counts.clicks,
            "created_at": link.created_at,
            "updated_at": link.updated_at,
            "is_active": self._links.is_live(link),
            "expires_at": link.expires_at,
            "short_url": self._links.short_url(link.short_code),
        }

    async def delete_url(self, request: pb.DeleteUrlRequest, caller: Caller) -> pb.DeleteUrlResponse:
        """Stop a link at once and for good."""
        await self._links.delete(request.short_code, owner_id=caller.account or None)
        return build(pb.DeleteUrlResponse, success=True)

    async def increment_clicks(self, request: pb.IncrementClicksRequest, _: Caller) -> pb.IncrementClicksResponse:
        """Add one to a link's counter."""
        return build(pb.IncrementClicksResponse, clicks=await self._links.increment_clicks(request.short_code))

    async def qr(self, request: QrRequest, caller: Caller) -> Content:
        """Draw a link's QR code, a PNG image unless another kind is named."""
        image = _qr_format(request.format)
        return Content(
            _QR_TYPES[image], await self._links.qr(request.short_code, image, owner_id=caller.account or None)
        )


def _qr_format(text: str) -> QrFormat:
    if text in {"", "png"}:
        return "png"
    if text == "svg":
        return "svg"
    raise errors.Invalid("format must be png or svg", field="format")


def link_operations(links: LinkService) -> list[Operation]:
    """Return what can be asked about links."""
    api = LinkApi(links)
    return [
        Operation(_SERVICE + "CreateURL", api.create_url, _CREATE, limit="creates", takes_key=True),
        Operation(_SERVICE + "CreateCustomURL", api.create_custom_url, _CREATE_CUSTOM, limit="creates", takes_key=True),
        Operation(_SERVICE + "GetURL", api.get_url, _GET, missing=_get_response),
        Operation(_SERVICE + "ListURLs", api.list_urls, _LIST),
        Operation(_SERVICE + "DeleteURL", api.delete_url, _DELETE),
        Operation(_SERVICE + "IncrementClicks", api.increment_clicks),
        Operation("", api.qr, _QR),
    ]


def _location(reply: pb.CreateUrlResponse | pb.CreateCustomUrlResponse) -> Mapping[str, str]:
    return {"Location": f"/api/urls/{reply.short_code}"}


_CREATE = Route(
    "POST",
    "/api/urls",
    "Create a link with a random short code",
    fills=("user_id",),
    status=201,
    headers=_location,
    errors=(Code.INVALID, Code.CONFLICT, Code.EXHAUSTED),
)
_CREATE_CUSTOM = Route(
    "POST",
    "/api/urls/custom",
    "Create a link with an alias of one's own choice",
    fills=("user_id",),
    status=201,
    headers=_location,
    errors=(Code.INVALID, Code.CONFLICT, Code.EXHAUSTED),
)
_LIST = Route(
    "GET",
    "/api/urls",
    "List one's own links, newest first",
    fills=("user_id",),
    query=(
        Query("limit", int, "How many links to return: 0 means 20, more than 1,000 means 1,000", low=0),
        Query("offset", int, "How many links to pass over", low=0),
    ),
    errors=(Code.INVALID,),
)
_GET = Route("GET", "/api/urls/{short_code}", "Look at one of one's own links", errors=(Code.NOT_FOUND,))
_DELETE = Route(
    "DELETE",
    "/api/urls/{short_code}",
    "Stop one of one's own links at once and for good",
    status=204,
    errors=(Code.NOT_FOUND,),
)
_QR = Route(
    "GET",
    "/api/urls/{short_code}/qr",
    "Get the QR code of a link's short URL as an image",
    query=(Query("format", str, "The kind of image; png when absent", choices=get_args(QrFormat)),),
    errors=(Code.INVALID, Code.NOT_FOUND, Code.EXHAUSTED),
    media_types=tuple(_QR_TYPES.values()),
)
