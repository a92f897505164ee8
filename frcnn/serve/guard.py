"""Who may ask: tokens, hosts, origins and rates; and the headers that every answer has."""

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frcnn.serve.limits import RateLimiter, Refusal
from frcnn.serve.metrics import Metrics

# Paths that need no token: the page, which asks for one, and what a watcher of processes asks.
OPEN_PREFIXES, OPEN_PATHS = ("/page/",), ("/", "/docs", "/openapi.json", "/healthz", "/favicon.ico")
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
# What is read and thrown away of a body that is refused, so that the client sees the answer.
_DRAINED = 64_000_000
_DRAIN_SECONDS = 10.0


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        token: that requests have to bring; None for none.
        hosts: names of this server, without port, that a request may be addressed to; None for
            any. A page of another site may be given a name that leads here (DNS rebinding), and
            its requests have that name.
    """

    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] | None = LOCAL_NAMES

    @classmethod
    def for_address(cls, host: str, token: str | None, names: Iterable[str] = ()) -> "Access":
        """The access to a server that listens at an address.

        Args:
            host: the address or name.
            token: if any.
            names: further names under which it is reached.
        """
        names = tuple(name.lower() for name in names)
        if is_loopback(host):
            return cls(token, (*LOCAL_NAMES, host.lower(), *names))
        return cls(token, (*LOCAL_NAMES, *names) if names else None)

    def check_host(self, headers: Headers) -> None:
        """Raises Refusal if a request is addressed to another name."""
        name = host_name(headers.get("host", ""))
        if self.hosts is not None and name not in self.hosts:
            raise Refusal(400, f"This server is not called {name[:80]!r}; use the address that "
                               "'frcnn serve' printed, or start it with --allow-host.")

    def check_origin(self, headers: Headers) -> None:
        """Raises Refusal if a page of another site sent the request."""
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if origin is not None:
            foreign = foreign or origin.partition("://")[2].lower() != headers.get("host",
                                                                                   "").lower()
        if foreign:
            raise Refusal(403, "Pages of other sites may not send requests to this server; open "
                               "its own page.")

    def check_token(self, headers: Headers) -> None:
        """Raises Refusal unless a request brings the token."""
        if self.token is None:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(
                given.strip().encode("utf-8", "replace"), self.token.encode()):
            raise Refusal(401, "The token is missing or wrong; send the server's token as "
                               "'Authorization: Bearer TOKEN'.")


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_name(text: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    if text.startswith("["):
        return text[1:].partition("]")[0].lower()
    return text.partition(":")[0].lower()


def client_of(scope: Scope) -> str:
    """Whose rate a request counts for: its address; of IPv6 the network of 64 bits."""
    address = scope["client"][0] if scope.get("client") else "unknown"
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is None:
        return str(ipaddress.ip_network((known, 64), strict=False))
    return address


class Guard:
    """ASGI middleware: refuses what Access and the rate do not allow; adds headers; counts.

    Args:
        app: what answers the requests that are allowed.
        access: Access.
        rates: RateLimiter of requests to /v1/.
        metrics: Metrics.
        routes: paths that are counted under their own name.
    """

    def __init__(self, app: ASGIApp, access: Access, rates: RateLimiter, metrics: Metrics,
                 routes: Iterable[str]) -> None:
        self.app, self.access, self.rates = app, access, rates
        self.metrics, self.routes = metrics, frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket, of which there are none
            await send({"type": "websocket.close", "code": 1008})
            return
        exchange = _Exchange(receive, send)
        begin = time.perf_counter()
        try:
            await self._answer(scope, exchange)
        finally:
            route = scope["path"] if scope["path"] in self.routes else "other"
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            self.metrics.requests.labels(route, method, str(exchange.status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - begin)

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            self._check(scope, Headers(scope=scope))
        except Refusal as refusal:
            await refused(refusal)(scope, exchange.receive, exchange.send)
        else:
            await self.app(scope, exchange.receive, exchange.send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        self.access.check_host(headers)
        if scope["method"] not in ("GET", "HEAD"):
            self.access.check_origin(headers)
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
            return
        self.rates.check(client_of(scope))  # before the token, so that few can be tried
        self.access.check_token(headers)


class _Exchange:
    """One request and its answer, whose headers are completed.

    What is left of a request's body is read before the answer is sent, up to some limit: a server
    that closes the connection first would take the answer from the client.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._is_read = False
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._is_read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400 and self.status != 408:
                await self._drain()
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def _drain(self) -> None:
        read = 0
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._is_read and read < _DRAINED:
                    read += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def refused(refusal: Refusal) -> JSONResponse:
    """The answer to a request that is refused."""
    return JSONResponse({"error": refusal.message}, refusal.status, refusal.headers)
