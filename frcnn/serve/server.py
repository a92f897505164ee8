"""The process: a socket, uvicorn, and signals."""

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from frcnn.errors import FrcnnError

# How long requests that are under way may take after SIGTERM.
SHUTDOWN_SECONDS = 300
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address, which is taken; connections wait until the server runs.

    Raises:
        FrcnnError: the address is in use or none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise FrcnnError(f"--host {host}: {error.strerror or error}; name an address of this "
                         "machine, such as 127.0.0.1.") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise FrcnnError(f"Port {port} of {host} cannot be used ({error.strerror or error}); name "
                         "another with --port, or 0 for any that is free.") from error
    return opened


def url_of(opened: socket.socket) -> str:
    """The address of the page at a socket."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Server(uvicorn.Server):
    """A uvicorn server that SIGTERM and SIGINT end in order: what is under way is finished.

    uvicorn itself raises the signal again afterwards, so that the process would end with an error.
    A second signal ends it at once.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals for the time of the block; those of the main thread alone can be."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # the second one
        self.should_exit = True


def make_server(app: ASGIApp) -> Server:
    """The server of an application.

    Args:
        app: of `make_app`.
    """
    # No configuration of logs: before Python makes one, it closes all log handlers of the process.
    return Server(uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, proxy_headers=False,
        server_header=False, lifespan="on", ws="none", http="h11",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS))


def run(server: Server, opened: socket.socket) -> None:
    """Answers requests at a socket of `listening` until a signal."""
    asyncio.run(server.serve(sockets=[opened]))
