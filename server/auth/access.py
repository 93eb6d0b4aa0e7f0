"""Access over HTTP: who may connect, from which pages, under which names of this server, and how often."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.server.auth.principals import authenticated, local, principal_of
from controlnet_mcp.server.auth.tokens import TokenFile
from controlnet_mcp.server.settings import Settings

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_DEFAULT_PORTS = {"http": ("80",), "https": ("443",)}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verifiers:
    """Several verifiers; the first that knows a token decides."""

    verifiers: Sequence[TokenVerifier]

    async def verify_token(self, token: str) -> AccessToken | None:
        """Find the bearer."""
        for verifier in self.verifiers:
            if (found := await verifier.verify_token(token)) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Access:
    """Access to the protocol's endpoints; files have signed links, and the health page is open.

    Attributes:
        requests_per_minute: Most requests of one authenticated caller.
        security: Hosts and origins that requests may name; what the endpoints check before the SDK does.
        verifier: Verifies tokens; `None` without authentication.
        oauth: The SDK's settings of an OAuth resource server.
        buckets: The requests that each caller has left over all endpoints.
    """

    requests_per_minute: int
    security: TransportSecuritySettings
    verifier: TokenVerifier | None = None
    oauth: AuthSettings | None = None
    buckets: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    @property
    def principal(self) -> Callable[[], str]:
        """Names the sender of the request at hand."""
        return local if self.verifier is None else authenticated

    def guarded(self, app: ASGIApp) -> ASGIApp:
        """The endpoint for authenticated callers only, not too often, under known names and from allowed pages."""
        app = KnownNames(app, self.security)
        if self.verifier is None:
            return app
        scopes = (self.oauth.required_scopes or []) if self.oauth else []
        url = build_resource_metadata_url(self._resource) if self._resource else None
        return RequireAuthMiddleware(RateLimit(app, self.requests_per_minute, buckets=self.buckets), scopes, url)

    @property
    def middleware(self) -> list[Middleware]:
        """Answers browsers and reads the token of every request; the audience of OAuth tokens is checked once more."""
        pages = Middleware(WebPages, allowed=self.security.allowed_origins)
        if self.verifier is None:
            return [pages]
        backend = BearerAuthBackend(self.verifier, resource_server_url=self._resource)
        return [pages, Middleware(AuthenticationMiddleware, backend=backend), Middleware(AuthContextMiddleware)]

    @property
    def routes(self) -> list[BaseRoute]:
        """Pages that name the authorization server to clients (RFC 9728)."""
        if self.oauth is None or self._resource is None:
            return []
        scopes = self.oauth.required_scopes
        return [*create_protected_resource_routes(self._resource, [self.oauth.issuer_url], scopes)]

    @property
    def _resource(self) -> AnyHttpUrl | None:
        return self.oauth.resource_server_url if self.oauth and self.oauth.validate_token_resource else None


async def open_access(settings: Settings) -> Access:
    """Read the tokens and the OAuth settings.

    Raises:
        RequestError: `not_configured`: the file of tokens is not right.
    """
    verifiers: list[TokenVerifier] = []
    oauth: AuthSettings | None = None
    if settings.oauth_issuer and settings.oauth_resource and settings.oauth_jwks_url:
        from controlnet_mcp.server.auth.oauth import KeySet, OAuthTokens

        oauth = AuthSettings(
            issuer_url=AnyHttpUrl(settings.oauth_issuer),
            resource_server_url=AnyHttpUrl(settings.oauth_resource),
            required_scopes=list(settings.oauth_scopes),
            validate_token_resource=True,
        )
        keys = KeySet(settings.oauth_jwks_url)
        verifiers.append(OAuthTokens(settings.oauth_issuer, settings.oauth_resource, keys))
    if settings.tokens_file is not None:
        resource, scopes = settings.oauth_resource, settings.oauth_scopes
        tokens = TokenFile(settings.tokens_file.expanduser(), settings.redactor, resource=resource, scopes=scopes)
        await tokens.load()
        verifiers.insert(0, tokens)
    loopback = [f"{name}{port}" for name in ("127.0.0.1", "localhost", "[::1]") for port in ("", ":*")]
    own = [urlsplit(url) for url in (settings.public_url, settings.oauth_resource) if url]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*loopback, *(url.netloc for url in own), *settings.allowed_hosts],
        allowed_origins=[
            *(f"http://{place}" for place in loopback),
            *(f"{url.scheme}://{url.netloc}" for url in own),
            *settings.allowed_origins,
        ],
    )
    verifier = Verifiers(verifiers) if verifiers else None
    return Access(settings.max_requests_per_minute, security, verifier, oauth)


def base_url(host: str, port: int) -> str:
    """The URL of a server that listens on a host, which may be an IPv6 address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check_host(host: str, *, authenticates: bool) -> None:
    """Refuse to be reachable by others without authentication.

    Raises:
        RequestError: `invalid_request` for any host but loopback.
    """
    if host not in LOOPBACK and not authenticates:
        raise RequestError(
            "invalid_request",
            f"Refusing to listen on {host}: anybody who reaches it could spend your credits.",
            hint="Set CONTROLNET_MCP_TOKENS_FILE or the CONTROLNET_MCP_OAUTH_ variables, or listen on 127.0.0.1.",
        )


def place(text: str, scheme: str = "") -> tuple[str, str]:
    """A host and port as they are compared: in lower case, without final dot and without the port of the scheme.

    Without a scheme, both ports of the web count as none. Accepts what people write for a host, a URL too.
    """
    text = text.strip().lower().rpartition("://")[2].partition("/")[0]
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.endswith("]")):  # an IPv6 address without a port
        host, port = text, ""
    host = host.strip("[]").removesuffix(".")
    return host, "" if port in _DEFAULT_PORTS.get(scheme, ("80", "443")) else port


def is_listed(text: str, listed: Sequence[str], scheme: str = "") -> bool:
    """Tell whether a host and port are in a list, where `host:*` stands for every port."""
    host, port = place(text, scheme)
    if not host or "/" in text or (port and not (port.isascii() and port.isdecimal())):
        return False
    known = [place(row, scheme) for row in listed]
    return any(host == in_ascii(name) and wanted in {port, "*"} for name, wanted in known)


def in_ascii(name: str) -> str:
    """A name of the operator's as requests have it (IDNA); what is none stays as it is."""
    with suppress(UnicodeError):
        return name if name.isascii() else name.encode("idna").decode()
    return name


def is_allowed_origin(origin: str, allowed: Sequence[str]) -> bool:
    """Tell whether the page of an `Origin` may connect; one without a host (`null`) only where it is listed so."""
    scheme, found, host = origin.strip().lower().partition("://")
    if not found:
        return origin in allowed
    same = [row.partition("://")[2] for row in allowed if row.strip().lower().startswith(f"{scheme}://")]
    return is_listed(host, same, scheme)


@dataclass(frozen=True, slots=True)
class KnownNames:
    """An endpoint that answers to its own names only, and to no foreign page (DNS rebinding, forms of other sites)."""

    app: ASGIApp
    security: TransportSecuritySettings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or say which setting allows it."""
        headers, allowed = Headers(scope=scope), self.security
        host, origin = headers.get("host", ""), headers.get("origin")
        refusal: tuple[int, str] | None = None
        if not is_listed(host, allowed.allowed_hosts):
            said = f"This server is not known as {host[:100]!r}"
            refusal = 421, f"{said}: its operator can add that to CONTROLNET_MCP_ALLOWED_HOSTS, or set {_PUBLIC_URL}."
        elif origin is not None and not is_allowed_origin(origin, allowed.allowed_origins):
            said = f"Pages of {origin[:100]!r} may not connect"
            refusal = 403, f"{said}: the operator can add that to CONTROLNET_MCP_ALLOWED_ORIGINS."
        if refusal is None or not allowed.enable_dns_rebinding_protection:
            await self.app(scope, receive, send)
            return
        status, message = refusal
        _log.warning("Refused: %s", message)
        await JSONResponse({"error": message}, status)(scope, receive, send)


_PUBLIC_URL = "CONTROLNET_MCP_PUBLIC_URL"
_EXPOSED = ("Mcp-Session-Id", "Mcp-Protocol-Version", "WWW-Authenticate", "Retry-After")
"""Headers of answers that a page's script may read, beside those that it always may."""


class WebPages(CORSMiddleware):
    """Tells browsers which pages may read answers (CORS): those of allowed origins all of them, others nothing.

    It stands before the authentication, because a browser asks without a token whether it may send one.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        """Take the allowed origins, as `Access.security` has them."""
        methods = ("GET", "POST", "DELETE")
        super().__init__(
            app, allow_methods=methods, allow_headers=("*",), allow_private_network=True, expose_headers=_EXPOSED
        )
        self._allowed = allowed

    def is_allowed_origin(self, origin: str) -> bool:
        """Tell whether a page may read answers."""
        return is_allowed_origin(origin, self._allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an allowed page's preflight; a foreign one's goes on like any request, and is refused there."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if "origin" in headers and not self.is_allowed_origin(headers["origin"]):
            await self.simple_response(scope, receive, send, headers)
        else:
            await super().__call__(scope, receive, send)

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        """Pass a request on; a failure is answered here, because what Starlette answers would lack the headers."""
        started = False

        async def told(message: Message) -> None:
            nonlocal started
            started = True
            await self.send(message, send, request_headers)

        try:
            await self.app(scope, receive, told)
        except Exception:
            if not started:
                await JSONResponse({"error": "The server itself failed; its log has the details."}, 500)(
                    scope, receive, told
                )
            raise

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Send an answer on its way, with headers for allowed pages only; caches keep answers by origin."""
        origin = request_headers.get("origin")
        if origin is None or self.is_allowed_origin(origin):
            await super().send(message, send, request_headers)
            return
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).add_vary_header("Origin")
        await send(message)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket for each caller, refilled evenly; beyond it 429 with Retry-After.

    Attributes:
        app: The application behind it.
        per_minute: Requests a minute and caller; as many may come at once.
        clock: Seconds, of any epoch.
        buckets: The requests that each caller has left, and when they were counted; there are as many callers as the
            operator lets in.
    """

    app: ASGIApp
    per_minute: int
    clock: Callable[[], float] = time.monotonic
    buckets: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or say when to come back; callers who need no token have no limit."""
        user = scope.get("user")
        left = 1.0
        if isinstance(user, AuthenticatedUser):
            name, now = principal_of(user.access_token), self.clock()
            left, counted_at = self.buckets.get(name, (self.per_minute, now))
            left = min(left + (now - counted_at) * self.per_minute / 60, self.per_minute)
            self.buckets[name] = left - 1 if left >= 1 else left, now
        if left >= 1:
            await self.app(scope, receive, send)
            return
        seconds = math.ceil((1 - left) * 60 / self.per_minute)
        said = f"More than {self.per_minute} requests a minute. Try again in {seconds} s; nothing was done."
        refusal = JSONResponse({"error": said}, status_code=429, headers={"retry-after": str(seconds)})
        await refusal(scope, receive, send)
