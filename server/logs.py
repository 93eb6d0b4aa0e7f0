"""Secrets are cut out of logs and of answers to callers, and a record of the log is bounded."""

import logging
import sys
from types import TracebackType

import mcp_types as types

from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.foundation.text import LONGEST_PATH, bounded

_LOUD = ("httpx2", "httpcore2", "hpack", "urllib3")
"""HTTP libraries: at INFO they log whole URLs, at DEBUG header fields."""
_MOST_BYTES, _MOST_TRACEBACK_CHARACTERS = 3900, 16_000
"""Longest record, and longest traceback, of which the end says most."""
_log = logging.getLogger(__name__)


class RedactingFormatter(logging.Formatter):
    """Formats a record with its traceback, then cuts out secrets, and what is too long."""

    def __init__(self, redactor: Redactor) -> None:
        """Take the redactor."""
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, as they are written."""
        text = self._redactor.text(super().format(record))
        if not record.exc_info:
            return bounded(text, _MOST_BYTES, longest_path=LONGEST_PATH)
        said, _, traceback = text.partition("\n")
        lines = [said, *traceback[-_MOST_TRACEBACK_CHARACTERS:].split("\n")]
        return "\n".join(bounded(line, longest_path=LONGEST_PATH) for line in lines)


def log_to_stderr(level: str, redactor: Redactor) -> None:
    """Send logs and uncaught exceptions to stderr, because stdout belongs to the protocol."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(redactor))
    logging.basicConfig(level=level, handlers=[handler])
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)

    def log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            _log.critical("The program ends because of a fault of its own.", exc_info=(kind, error, trace))

    sys.excepthook = log_uncaught


def redacted(result: types.CallToolResult, redactor: Redactor) -> types.CallToolResult:
    """The answer without secrets, whatever a tool or a provider put into it; pictures stay as they are."""
    content = [
        block.model_copy(update={"text": redactor.text(block.text)}) if isinstance(block, types.TextContent) else block
        for block in result.content
    ]
    structured = redactor.value(result.structured_content)
    return result.model_copy(update={"content": content, "structured_content": structured})
