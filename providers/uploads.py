"""What was uploaded where, remembered by content as long as the provider keeps it."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class UploadCache:
    """Uploads of this process; losing it costs a second upload, which is free."""

    _known: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict[tuple[str, str], tuple[str, float]])

    def get(self, provider: str, sha256: str) -> str | None:
        """What the provider calls a picture, if it still has it."""
        name, until = self._known.get((provider, sha256), ("", 0.0))
        return name if until > time.monotonic() else None

    def put(self, provider: str, sha256: str, name: str, lifetime_seconds: float) -> None:
        """Remember an upload for `lifetime_seconds`."""
        self._known[provider, sha256] = (name, time.monotonic() + lifetime_seconds)
