"""What the operator can set about who may connect over HTTP."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

Names = Annotated[tuple[str, ...], NoDecode]


class AccessSettings(BaseSettings):
    """Tokens, OAuth, and the names under which this server may be reached."""

    tokens_file: Path | None = Field(
        default=None, description="HTTP: file with a line `name: token` or `name: sha256:HEX` for each who may connect"
    )
    oauth_issuer: str | None = Field(default=None, description="HTTP: URL of the authorization server (OAuth 2.1)")
    oauth_resource: str | None = Field(
        default=None, description="HTTP: URL of this server's /mcp, which tokens must be issued for"
    )
    oauth_jwks_url: str | None = Field(default=None, description="HTTP: where the issuer publishes its keys")
    oauth_scopes: Names = Field(default=(), description="HTTP: comma list of scopes that a token must have")
    allowed_hosts: Names = Field(
        default=(),
        description="HTTP: comma list of further host or host:port that requests may name; loopback and PUBLIC_URL may",
    )
    allowed_origins: Names = Field(
        default=(), description="HTTP: comma list of further origins whose web pages may connect, as https://host"
    )
    max_requests_per_minute: int = Field(
        default=600, ge=1, description="HTTP: most requests of one authenticated caller, after a burst of as many"
    )

    @field_validator("oauth_scopes", "allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _read_names(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_oauth(self) -> "AccessSettings":
        """Half of an OAuth configuration protects nothing."""
        given = [self.oauth_issuer, self.oauth_resource, self.oauth_jwks_url]
        if any(given) and not all(given):
            raise ValueError("oauth_issuer, oauth_resource and oauth_jwks_url belong together: set all three or none")
        return self

    @property
    def authenticates(self) -> bool:
        """Whether callers over HTTP have to say who they are."""
        return self.tokens_file is not None or self.oauth_issuer is not None
