"""Redirect clients: each follows one link over one connection and counts its requests and their answers."""

import socket
import threading
import time

from tests.support.process import Running


class RedirectClient:
    """Follows `code` until told to stop, or until the server is gone. One request is open at a time."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.sent = self.answered = 0
        self.error: BaseException | None = None

    def run(self, server: Running, stopping: threading.Event) -> None:
        self.error = None
        host, _, port = server.redirect.rpartition(":")
        request = f"GET /{self.code} HTTP/1.1\r\nHost: s.example\r\nUser-Agent: clicker\r\n\r\n".encode()
        try:
            with socket.create_connection((host, int(port)), timeout=30) as peer:
                while not stopping.is_set():
                    self.sent += 1
                    peer.sendall(request)
                    if not _is_redirect(peer):
                        return
                    self.answered += 1
        except OSError as error:
            if not stopping.is_set():
                self.error = error

    @property
    def unsure(self) -> int:
        """How many requests were not answered."""
        return self.sent - self.answered


def _is_redirect(peer: socket.socket) -> bool:
    """Read one answer, which has no body; False when the server has gone before its end."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = peer.recv(4096)
        if not piece:
            return False
        data += piece
    assert data.startswith(b"HTTP/1.1 302 "), data
    assert b"\r\nContent-Length: 0\r\n" in data, data
    return True


def follow(redirect_clients: list[RedirectClient], server: Running, seconds: float, *, kill: bool) -> None:
    """Run all clients for `seconds`; with `kill`, kill the server while they run."""
    stopping = threading.Event()
    threads = [threading.Thread(target=client.run, args=(server, stopping)) for client in redirect_clients]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    if kill:
        server.kill()
    stopping.set()
    for thread in threads:
        thread.join()
    assert [client.error for client in redirect_clients if client.error and not kill] == []
