"""One call as its handler sees it: of grpclib's server `Stream` what generated handlers and ours use."""

import asyncio
import logging
from collections import deque
from time import monotonic
from typing import Any, Protocol, Self

from grpclib import GRPCError
from grpclib.const import Status
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.metadata import Deadline
from grpclib.protocol import Peer
from multidict import MultiDict

from shortener.rpc.http2.errors import ErrorCode
from shortener.rpc.http2.head import Head, Metadata, Method, status_block
from shortener.rpc.http2.messages import PREFIX, Assembler
from shortener.rpc.http2.outbound import Outbound

log = logging.getLogger(__name__)

_ANSWER_SIZE_MAX = 4_194_304  # what clients of every language take unless told otherwise


class Owner(Protocol):
    """The calls of a connection, as one of them sees them."""

    outbound: Outbound
    transport: asyncio.Transport

    async def turn(self) -> None:
        """Wait for other calls and connections to have their turn."""

    def consumed(self, stream: "Stream", size: int) -> None:
        """Release `size` bytes of the request, prefixes included."""

    def handler_ended(self, stream: "Stream") -> None:
        """Count the handler as ended."""

    def set_timer(self, stream: "Stream") -> None:
        """Have the call ended at its deadline."""

    def ended(self, stream: "Stream") -> None:
        """Forget the call: its whole answer is out."""

    def reset(self, stream: "Stream", code: ErrorCode) -> None:
        """End the call from our side, and its handler with it."""


class Stream:
    """A request and its answer.

    On a call that is over (reset, past its deadline, connection lost) the handler's methods do nothing: its task is
    cancelled, and nobody is left to hear it.
    """

    __slots__ = (
        "_calls", "_head", "_headers_sent", "_metadata", "_outbound", "_reply", "_taken", "assembler", "cost",
        "deadline_at", "held", "id", "inbox", "message_since", "method", "over", "progress_at", "queue",
        "receive_window", "received", "received_end", "request", "send_window", "started", "tail", "task", "timer",
        "trailers_done", "uncredited", "waiter",
    )  # fmt: skip

    def __init__(
        self, calls: Owner, stream_id: int, head: Head, method: Method, now: float, cost: int, receive_window: int
    ) -> None:
        self._calls = calls
        self._head = head
        self._headers_sent = False
        self._metadata: Metadata | None = None
        self._outbound = outbound = calls.outbound
        self._reply: bytes | None = None  # of a unary call: it leaves together with the trailers
        self.id = stream_id
        self.method = method
        self.cost = cost  # what the connection's budget pays when the client gives the call up
        self.deadline_at = None if head.timeout_seconds is None else now + head.timeout_seconds
        # Receiving.
        self.request: bytes | None = None  # a unary call's message, with its prefix
        self.inbox: deque[bytes] | None = deque() if method.request_streams else None  # a streaming call's messages
        self.assembler: Assembler | None = None  # for messages in pieces
        self.message_since = now  # when the first bytes of the unfinished message came, or the head
        self.waiter: asyncio.Future[None] | None = None
        self._taken = False  # the handler has had a message already
        self.received = self.uncredited = 0
        self.received_end = False
        self.receive_window = receive_window
        self.held = 0  # bytes of messages in pieces or not yet read
        # Sending.
        self.send_window = outbound.initial_window
        self.queue: bytearray | None = None
        self.tail: bytes | None = None
        self.progress_at = now
        self.trailers_done = False
        # Running.
        self.started = False
        self.over = False  # the connection has forgotten it
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    # What the handler uses.

    @property
    def metadata(self) -> Metadata:
        """The caller's metadata; -bin values are bytes."""
        if self._metadata is None:
            self._metadata = Metadata(MultiDict(self._head.pairs))
        return self._metadata

    @property
    def deadline(self) -> Deadline | None:
        """When the call must be answered: what the caller asked, or the default."""
        return None if self.deadline_at is None else Deadline.from_timeout(self.deadline_at - monotonic())

    @property
    def peer(self) -> Peer:
        """The other side's address and certificate."""
        return Peer(self._calls.transport)

    @property
    def reply_size(self) -> int:
        """The bytes of a unary call's message that is ready to leave, else 0."""
        return 0 if self._reply is None else len(self._reply)

    async def recv_message(self) -> Any:
        """Return the next message, or None after the last; GRPCError when its bytes are none.

        Other calls have their turn before each further message. Raises StreamTerminatedError when the client went
        away.
        """
        request = self.request
        if request is not None:
            self.request = None
            if self.held:
                self._calls.consumed(self, self.held)
            return self.method.decode(request[PREFIX:])
        inbox = self.inbox
        if inbox is None:
            return None
        if inbox and self._taken:
            await self._calls.turn()
        while not inbox:
            if self.over:
                raise StreamTerminatedError("the call is over")
            if self.received_end:
                return None
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None
        self._taken = True
        data = inbox.popleft()
        self._calls.consumed(self, len(data) + PREFIX)
        return self.method.decode(data)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def send_message(self, message: Any) -> None:
        """Send a message; a streaming call waits here while the client takes none. A status follows by GRPCError.

        Raises ProtocolError for a second message of a unary call, TypeError for one of another type, GRPCError
        RESOURCE_EXHAUSTED when too much waits for slow clients already and for a message that no client would take.
        """
        data = self.method.encode(message)
        size = len(data) + PREFIX
        outbound = self._outbound
        waits = (outbound.held or size > outbound.window or size > self.send_window) and not self.over
        if len(data) > _ANSWER_SIZE_MAX:
            self._refuse_size(len(data))
        if not self.method.reply_streams:
            if self._reply is not None:
                raise ProtocolError("message was already sent")
            if waits:
                outbound.check_room(size)
            self._reply = data
            return
        if waits:
            await outbound.wait_for_room(size)
        if self.over:
            return
        if not self._headers_sent:
            self._headers_sent = True
            outbound.headers(self.id)
        outbound.message(self, data)
        if self.queue is not None:
            await outbound.wait_until_sent(self)

    def _refuse_size(self, size: int) -> None:
        log.error("answer too large", extra={"method": self.method.path, "size": size})
        raise GRPCError(Status.RESOURCE_EXHAUSTED, "the answer is larger than clients take")

    # How a call ends.

    def _end(self, status: Status, message: str | None = None, details: Any = None) -> None:
        """Send what is left of the answer."""
        if self.trailers_done or self.over:
            self.trailers_done = True
            return
        block = None if status is Status.OK else status_block(status, message, details)
        self.trailers_done = True
        outbound = self._outbound
        reply, self._reply = self._reply, None
        if not self._headers_sent:
            if block is not None and reply is None:
                outbound.trailers_only(self, block)
                return
            self._headers_sent = True
            if block is None and reply is not None:
                outbound.answer(self, reply)
                return
            outbound.headers(self.id)
        if reply is not None:
            outbound.message(self, reply)
        outbound.finish(self, block)

    def _conclude(self, error: BaseException | None) -> None:
        """Answer for a handler that has returned (None) or raised `error`."""
        if error is None:
            if self.trailers_done or self.over:
                return
            if self._reply is None and not self.method.reply_streams:
                log.error("%s returned without sending a message", self.method.path)
                self._end(Status.INTERNAL, "internal error")
            else:
                self._end(Status.OK)
        elif isinstance(error, GRPCError):
            self._end(error.status, error.message, error.details)
        elif isinstance(error, asyncio.CancelledError):  # not by us: then the call would be over
            self._end(Status.CANCELLED, "cancelled")
        elif not (self.over and isinstance(error, StreamTerminatedError)):
            log.error("%s failed", self.method.path, exc_info=error)
            self._end(Status.INTERNAL, "internal error")

    def finished(self, error: BaseException | None) -> None:
        """End the call for its handler, which has returned (None) or raised `error`."""
        self._calls.handler_ended(self)
        try:
            self._conclude(error)
        except Exception:
            log.error("%s raised an error that cannot be sent", self.method.path, exc_info=True)
            self._end(Status.INTERNAL, "internal error")
        if not self.over:
            self._calls.set_timer(self)

    def expire(self) -> None:
        """Answer DEADLINE_EXCEEDED at once, however long the handler takes to notice its cancellation."""
        self.timer = None
        self._reply = None
        if self.queue is not None:  # the answer was ready, but the client did not take it
            self._outbound.drop(self)
            self.trailers_done = False
        self.fail(GRPCError(Status.DEADLINE_EXCEEDED, "deadline exceeded"))

    def fail(self, error: GRPCError) -> None:
        """Answer for a request that no handler will see to its end, and let go of what is held of it."""
        self._end(error.status, error.message)
        if self.task is not None:
            self.task.cancel()
        if self.held:
            self.let_go()

    def end_sent(self) -> None:
        """Tell the connection that the answer went out."""
        self._calls.ended(self)

    def give_up(self) -> None:
        """Reset the call, because its client takes nothing."""
        self._calls.reset(self, ErrorCode.ENHANCE_YOUR_CALM)

    # What the connection asks of the request.

    @property
    def gzip(self) -> bool:
        """Whether the request's messages may be compressed."""
        return self._head.gzip

    @property
    def content_length(self) -> int:
        """What the request's content-length promised, or -1."""
        return self._head.content_length

    @property
    def keeps_bytes(self) -> bool:
        """Whether what the client sends is of any use: the call is let in, and not answered yet."""
        return self._head.admitted and not self.trailers_done

    @property
    def has_part(self) -> bool:
        """Whether the first bytes of a message have come, but not the last."""
        return self.assembler is not None and len(self.assembler) > 0

    @property
    def lacks_bytes(self) -> bool:
        """Whether more of the request must come: for a plain call its end, for a streaming one that of a message."""
        return not self.received_end if self.inbox is None else self.has_part

    def let_go(self) -> None:
        """Drop what is held of the request."""
        self._calls.consumed(self, self.held)
        self.assembler = None
        self.request = None
        if self.inbox is not None:
            self.inbox.clear()

    def wake(self) -> None:
        """Let a waiting `recv_message` look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
