"""Serving one client over a pair of streams, with an eye on which of its answers could be handed over."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage

from controlnet_mcp.server.mcp.delivery import ALONE, Answers, Receipts


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is written to a client; an answer that cannot be handed over is noted as lost."""

    stream: WriteStream[SessionMessage]
    answers: Answers
    receipts: Receipts

    async def send(self, item: SessionMessage, /) -> None:
        """Write one message."""
        try:
            await self.stream.send(item)
        except BaseException:
            if isinstance(item.message, types.JSONRPCResponse):
                await self.receipts.lost(self.answers.pop(ALONE, str(item.message.id)))
            raise

    async def aclose(self) -> None:
        """Write no more."""
        await self.stream.aclose()

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()


async def serve_client(
    server: Server[dict[str, Any]],
    read: ReadStream[SessionMessage | Exception],
    write: WriteStream[SessionMessage],
    receipts: Receipts,
) -> Answers:
    """Serve one client until it leaves, in the era of the protocol that it opens with; gives the latest answers."""
    state: dict[str, Any] = {}
    answers = Answers.of(state)
    options = server.create_initialization_options()
    outgoing = Outgoing(write, answers, receipts)
    await serve_dual_era_loop(server, read, outgoing, lifespan_state=state, init_options=options)
    return answers
