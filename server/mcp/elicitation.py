"""Questions to the user of a client: in an answer that asks for the call again, or as a request of the server."""

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
"""Time that a request of the server stays open; after that the answer is no."""
_NO_FIELDS: Mapping[str, Any] = {"type": "object", "properties": {}}
"""The form of a question that accepting or declining answers."""
_log = logging.getLogger(__name__)


class InputNeededError(Exception):
    """A call cannot go on before the user answered; the client repeats it with the answer.

    Attributes:
        result: The answer to the call until then.
    """

    def __init__(self, question: str) -> None:
        super().__init__(question)
        form = types.ElicitRequestFormParams(message=question, requested_schema=dict(_NO_FIELDS))
        asked = types.ElicitRequest(params=form)
        self.result = types.InputRequiredResult(input_requests={_KEY: asked}, request_state=question)


def ask_user_by(
    context: ServerRequestContext[dict[str, Any], Any], params: types.CallToolRequestParams
) -> AskUser | None:
    """The way to ask the user during a call; `None` where the client has none."""

    async def read_answer(question: str) -> bool:
        """Read the answer that came with a repeated call; it counts only for this question, sealed in its state.

        Raises:
            InputNeededError: It was not asked yet, or the price has changed since.
        """
        answer = (params.input_responses or {}).get(_KEY)
        if not isinstance(answer, types.ElicitResult) or params.request_state != question:
            raise InputNeededError(question)
        return answer.action == "accept"

    async def ask(question: str) -> bool:
        """Ask and wait; a client that fails to ask has not agreed."""
        try:
            with anyio.fail_after(_ANSWER_SECONDS):
                answer = await context.session.elicit_form(question, dict(_NO_FIELDS), context.request_id)
        except (MCPError, TimeoutError) as error:
            _log.warning("The user could not be asked: %s", type(error).__name__)
            return False
        return answer.action == "accept"

    declared = context.session.client_capabilities
    forms = declared.elicitation if declared is not None else None
    if forms is None or (forms.form is None and forms.url is not None):  # an empty capability means forms
        return None
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return read_answer
    return ask if context.session.can_send_request else None
