"""Who may connect over HTTP, under which names this server is reached, and from which pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.server.auth.principals import authenticated, local
from controlnet_mcp.server.auth.rate_limit import RateLimit
from controlnet_mcp.server.auth.tokens import TokenFile
from controlnet_mcp.server.settings import Settings

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Verifiers:
    """Several ways to prove who one is; the first that knows a token decides."""

    verifiers: Sequence[TokenVerifier]

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token it is."""
        for verifier in self.verifiers:
            if (found := await verifier.verify_token(token)) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Access:
    """The gate in front of the protocol's endpoints; files have signed links, and the health page is open.

    Attributes:
        requests_per_minute: Most requests of one authenticated caller.
        security: The names and pages that requests may come with.
        verifier: Knows tokens; `None` where nobody authenticates.
        oauth: The SDK's settings of an OAuth resource server.
    """

    requests_per_minute: int
    security: TransportSecuritySettings
    verifier: TokenVerifier | None = None
    oauth: AuthSettings | None = None

    @property
    def principal(self) -> Callable[[], str]:
        """How to tell who asks."""
        return local if self.verifier is None else authenticated

    def guarded(self, app: ASGIApp) -> ASGIApp:
        """An endpoint that only opens for those who prove who they are."""
        if self.verifier is None:
            return app
        scopes = (self.oauth.required_scopes or []) if self.oauth else []
        url = build_resource_metadata_url(self._resource) if self._resource else None
        return RequireAuthMiddleware(RateLimit(app, self.requests_per_minute), scopes, url)

    @property
    def middleware(self) -> list[Middleware]:
        """Reads the token of every request; the audience of OAuth tokens is checked once more here."""
        if self.verifier is None:
            return []
        backend = BearerAuthBackend(self.verifier, resource_server_url=self._resource)
        return [Middleware(AuthenticationMiddleware, backend=backend), Middleware(AuthContextMiddleware)]

    @property
    def routes(self) -> list[BaseRoute]:
        """Where clients learn which authorization server to ask (RFC 9728)."""
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

        oauth = _auth_settings(settings.oauth_issuer, settings.oauth_resource, settings.oauth_scopes)
        keys = KeySet(settings.oauth_jwks_url)
        verifiers.append(OAuthTokens(settings.oauth_issuer, settings.oauth_resource, keys))
    if settings.tokens_file is not None:
        resource, scopes = settings.oauth_resource, settings.oauth_scopes
        tokens = TokenFile(settings.tokens_file.expanduser(), settings.redactor, resource=resource, scopes=scopes)
        await tokens.load()
        verifiers.insert(0, tokens)
    return Access(
        settings.max_requests_per_minute,
        _security(settings, (settings.public_url, settings.oauth_resource)),
        Verifiers(verifiers) if verifiers else None,
        oauth,
    )


def _auth_settings(issuer: str, resource: str, scopes: Sequence[str]) -> AuthSettings:
    return AuthSettings.model_validate(
        {
            "issuer_url": issuer,
            "resource_server_url": resource,
            "required_scopes": list(scopes),
            "validate_token_resource": True,
        }
    )


def check_host(host: str, *, authenticates: bool) -> None:
    """Refuse to be reachable by others where nobody has to say who they are.

    Raises:
        RequestError: `invalid_request` for any host but loopback.
    """
    if host not in LOOPBACK and not authenticates:
        raise RequestError(
            "invalid_request",
            f"Refusing to listen on {host}: anybody who reaches it could spend your credits.",
            hint="Set CONTROLNET_MCP_TOKENS_FILE or the CONTROLNET_MCP_OAUTH_ variables, or listen on 127.0.0.1.",
        )


def _security(settings: Settings, urls: Sequence[str | None]) -> TransportSecuritySettings:
    """The names that requests may call this server by, and the pages that may make them; the check is always on."""
    parts = [urlsplit(url) for url in urls if url]
    names = ["127.0.0.1", "localhost", "[::1]"]
    ports = ("", ":*")
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[
            *(f"{name}{port}" for name in names for port in ports),
            *(part.netloc for part in parts),
            *settings.allowed_hosts,
        ],
        allowed_origins=[
            *(f"http://{name}{port}" for name in names for port in ports),
            *(f"{part.scheme}://{part.netloc}" for part in parts),
            *settings.allowed_origins,
        ],
    )
