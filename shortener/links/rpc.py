"""url.URLService: messages in and messages out, nothing else."""

from grpclib.const import Handler
from grpclib.server import Stream

from shortener import errors
from shortener.gen import url as pb
from shortener.links import wire
from shortener.links.service import LinkService
from shortener.rpc.guard import received
from shortener.rpc.idempotency import keyed

CREATE_URL = "/url.URLService/CreateURL"
CREATE_CUSTOM_URL = "/url.URLService/CreateCustomURL"
GET_URL = "/url.URLService/GetURL"


class UrlRpc(pb.UrlServiceBase):
    """The service as the RPC servers take it. Raises the domain's errors; `rpc/guard.py` translates them."""

    def __init__(self, links: LinkService) -> None:
        self._links = links

    async def create_url(
        self, create_url_request: pb.CreateUrlRequest, *, idempotency_key: str | None = None
    ) -> pb.CreateUrlResponse:
        """Make a link with a random short code."""
        request = create_url_request
        created = await self._links.create(
            request.long_url,
            request.user_id,
            expires_at=request.expires_at,
            with_qr=not request.omit_qr_code,
            idempotency_key=idempotency_key,
        )
        return wire.create_response(created)

    async def create_custom_url(
        self, create_custom_url_request: pb.CreateCustomUrlRequest, *, idempotency_key: str | None = None
    ) -> pb.CreateCustomUrlResponse:
        """Make a link whose short code the caller chooses."""
        request = create_custom_url_request
        created = await self._links.create_custom(
            request.alias,
            request.long_url,
            request.user_id,
            expires_at=request.expires_at,
            with_qr=not request.omit_qr_code,
            idempotency_key=idempotency_key,
        )
        return wire.create_custom_response(created)

    async def get_url(self, get_url_request: pb.GetUrlRequest) -> pb.GetUrlResponse:
        """Read a link. Raises `errors.NotFound`; over the wire a response of found=false goes before that."""
        return wire.get_response(self._links, await self._links.get(get_url_request.short_code))

    async def list_ur_ls(self, list_ur_ls_request: pb.ListUrLsRequest) -> pb.ListUrLsResponse:
        """Page through one user's links, newest first."""
        request = list_ur_ls_request
        page = await self._links.page(request.user_id, limit=request.limit, offset=request.offset)
        return wire.list_response(self._links, page)

    async def delete_url(self, delete_url_request: pb.DeleteUrlRequest) -> pb.DeleteUrlResponse:
        """Stop a link at once and for good."""
        await self._links.delete(delete_url_request.short_code)
        return wire.delete_response()

    async def increment_clicks(self, increment_clicks_request: pb.IncrementClicksRequest) -> pb.IncrementClicksResponse:
        """Add one to a link's counter."""
        return wire.increment_response(await self._links.increment_clicks(increment_clicks_request.short_code))

    def __mapping__(self) -> dict[str, Handler]:
        """Return the methods by path: GetURL is not the generated one, because it may answer twice.

        Nor are those that make links: they take idempotency keys.
        """
        mapping = super().__mapping__()
        mapping[CREATE_URL] = mapping[CREATE_URL]._replace(func=keyed(self.create_url))
        mapping[CREATE_CUSTOM_URL] = mapping[CREATE_CUSTOM_URL]._replace(func=keyed(self.create_custom_url))
        mapping[GET_URL] = mapping[GET_URL]._replace(func=self._get_url)
        return mapping

    async def _get_url(self, stream: "Stream[pb.GetUrlRequest, pb.GetUrlResponse]") -> None:
        """Answer one GetURL call. For unknown codes the contract promises both, found=false and NOT_FOUND."""
        request = await received(stream)
        try:
            response = await self.get_url(request)
        except errors.NotFound:
            await stream.send_message(wire.not_found_response())
            raise
        await stream.send_message(response)
