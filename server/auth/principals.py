"""Principals: the names of callers, which jobs, budgets and limits belong to, from the token of a request."""

import json

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, principal_components

from controlnet_mcp.foundation.errors import RequestError

LOCAL = "local"
"""The user of this machine, to whom jobs belong where no authentication is configured."""
FILE_ISSUER = "file of tokens"  # no URL, so no authorization server can have it


def local() -> str:
    """The user of this machine, whoever sent the request."""
    return LOCAL


def authenticated() -> str:
    """The bearer of the token of the request at hand.

    Raises:
        RequestError: `unauthorized`: the request has none.
    """
    token = get_access_token()
    if token is None:
        raise RequestError("unauthorized", "This request came without a token.", hint="Connect with a bearer token.")
    return principal_of(token)


def principal_of(token: AccessToken) -> str:
    """A name that no other bearer has: issuer and subject together, and never that of the machine's user."""
    client_id, issuer, subject = principal_components(token)
    if issuer == FILE_ISSUER:
        return f"token:{client_id}"
    return f"oauth:{json.dumps([issuer, subject])}"
