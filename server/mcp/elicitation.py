"""Asking the person behind a client, in either era: by a result that the call is repeated with, or on the line."""

import logging
from collections.abc import Mapping
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from controlnet_mcp.jobs.budget import AskUser

_KEY = "confirm"
_ANSWER_SECONDS = 600.0
"""How long a question stays open on the line; after that the answer is no."""
_NO_FIELDS: Mapping[str, Any] = {"type": "object", "properties": {}}
"""The form of a question that accepting or declining answers."""
_log = logging.getLogger(__name__)


class InputNeededError(Exception):
    """A call cannot go on before the user answered; the client repeats it with the answer.

    Attributes:
        result: What the call is answered with until then.
    """

    def __init__(self, question: str) -> None:
        super().__init__(question)
        asked = types.ElicitRequest(params=_form(question))
        self.result = types.InputRequiredResult(input_requests={_KEY: asked}, request_state=question)


def ask_user_by(
    context: ServerRequestContext[dict[str, Any], Any], params: types.CallToolRequestParams
) -> AskUser | None:
    """How to ask the user during a call; `None` where the client cannot."""
    declared = context.session.client_capabilities
    if declared is None or declared.elicitation is None or not _shows_forms(declared.elicitation):
        return None
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return lambda question: _answered(params, question)
    return (lambda question: _asked(context, question)) if context.session.can_send_request else None


def _shows_forms(capability: types.ElicitationCapability) -> bool:
    """An empty capability means forms, as in the revision that brought it."""
    return capability.form is not None or capability.url is None


async def _answered(params: types.CallToolRequestParams, question: str) -> bool:
    """The answer that came with a repeated call: it counts for the very question that we asked, sealed in its state.

    Raises:
        InputNeededError: It was not asked yet, or the price has changed since.
    """
    answer = (params.input_responses or {}).get(_KEY)
    if not isinstance(answer, types.ElicitResult) or params.request_state != question:
        raise InputNeededError(question)
    return answer.action == "accept"


async def _asked(context: ServerRequestContext[dict[str, Any], Any], question: str) -> bool:
    """Ask and wait; a client that fails to ask has not agreed."""
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            answer = await context.session.elicit_form(question, dict(_NO_FIELDS), context.request_id)
    except (MCPError, TimeoutError) as error:
        _log.warning("The user could not be asked: %s", type(error).__name__)
        return False
    return answer.action == "accept"


def _form(question: str) -> types.ElicitRequestFormParams:
    return types.ElicitRequestFormParams(message=question, requested_schema=dict(_NO_FIELDS))
