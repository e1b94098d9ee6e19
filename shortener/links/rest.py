"""The gateway's /api/urls routes (statistics are of analytics); JSON bodies are the RPCs' messages, nothing else."""

from typing import get_args

from shortener import errors
from shortener.errors import Code
from shortener.gen import url as pb
from shortener.links import wire
from shortener.links.model import Created
from shortener.links.ports import QrFormat
from shortener.links.service import LinkService
from shortener.rest.routes import Call, Query, Reply, Route
from shortener.rpc.idempotency import REPLAYED

_LIST_PATH = "/api/urls"
_LINK_PATH = "/api/urls/{short_code}"
_HIDDEN = frozenset({"user_id"})  # the token says who calls
_QR_TYPES: dict[QrFormat, str] = {"png": "image/png", "svg": "image/svg+xml"}


def routes(links: LinkService) -> list[Route]:
    """Return the routes of links. Someone else's link is answered like one that does not exist."""
    return [*_collection_routes(links), *_link_routes(links)]


def _collection_routes(links: LinkService) -> list[Route]:
    async def create(call: Call) -> Reply:
        assert isinstance(call.body, pb.CreateUrlRequest)
        created = await links.create(
            call.body.long_url,
            call.caller_id(),
            expires_at=call.body.expires_at,
            with_qr=not call.body.omit_qr_code,
            idempotency_key=call.idempotency_key,
        )
        return Reply(wire.create_response(created), status=201, headers=_created_headers(created))

    async def create_custom(call: Call) -> Reply:
        assert isinstance(call.body, pb.CreateCustomUrlRequest)
        created = await links.create_custom(
            call.body.alias,
            call.body.long_url,
            call.caller_id(),
            expires_at=call.body.expires_at,
            with_qr=not call.body.omit_qr_code,
            idempotency_key=call.idempotency_key,
        )
        return Reply(wire.create_custom_response(created), status=201, headers=_created_headers(created))

    async def page(call: Call) -> Reply:
        found = await links.page(call.caller_id(), limit=call.number("limit"), offset=call.number("offset"))
        return Reply(wire.list_response(links, found))

    return [
        Route(
            "POST",
            _LIST_PATH,
            create,
            "Create a link with a random short code",
            body=pb.CreateUrlRequest,
            body_hides=_HIDDEN,
            reply=pb.CreateUrlResponse,
            status=201,
            errors=(Code.INVALID, Code.CONFLICT, Code.EXHAUSTED),
            takes_key=True,
            limit="creates",
        ),
        Route(
            "POST",
            "/api/urls/custom",
            create_custom,
            "Create a link with an alias of one's own choice",
            body=pb.CreateCustomUrlRequest,
            body_hides=_HIDDEN,
            reply=pb.CreateCustomUrlResponse,
            status=201,
            errors=(Code.INVALID, Code.CONFLICT, Code.EXHAUSTED),
            limit="creates",
            takes_key=True,
        ),
        Route(
            "GET",
            _LIST_PATH,
            page,
            "List one's own links, newest first",
            query=(
                Query("limit", int, "How many links to return: 0 means 20, more than 1,000 means 1,000", low=0),
                Query("offset", int, "How many links to pass over", low=0),
            ),
            reply=pb.ListUrLsResponse,
            errors=(Code.INVALID,),
        ),
    ]


def _link_routes(links: LinkService) -> list[Route]:
    async def get(call: Call) -> Reply:
        link = await links.get(call.path["short_code"], owner_id=call.caller_id())
        return Reply(wire.get_response(links, link))

    async def delete(call: Call) -> Reply:
        await links.delete(call.path["short_code"], owner_id=call.caller_id())
        return Reply(status=204)

    async def qr(call: Call) -> Reply:
        image = _qr_format(call.text("format"))
        content = await links.qr(call.path["short_code"], image, owner_id=call.caller_id())
        return Reply(content=content, content_type=_QR_TYPES[image])

    return [
        Route(
            "GET",
            _LINK_PATH,
            get,
            "Look at one of one's own links",
            reply=pb.GetUrlResponse,
            errors=(Code.NOT_FOUND,),
        ),
        Route(
            "DELETE",
            _LINK_PATH,
            delete,
            "Stop one of one's own links at once and for good",
            status=204,
            errors=(Code.NOT_FOUND,),
        ),
        Route(
            "GET",
            f"{_LINK_PATH}/qr",
            qr,
            "Get the QR code of a link's short URL as an image",
            query=(Query("format", str, "The kind of image; png when absent", choices=get_args(QrFormat)),),
            errors=(Code.INVALID, Code.NOT_FOUND, Code.EXHAUSTED),
            media_types=tuple(_QR_TYPES.values()),
        ),
    ]


def _created_headers(created: Created) -> dict[str, str]:
    location = {"Location": f"{_LIST_PATH}/{created.link.short_code}"}
    return location | {REPLAYED: "true"} if created.is_replay else location


def _qr_format(text: str) -> QrFormat:
    """Return the kind of image asked for, PNG when none is named. Raises `errors.Invalid`."""
    if text in {"", "png"}:
        return "png"
    if text == "svg":
        return "svg"
    raise errors.Invalid("format must be png or svg", field="format")
