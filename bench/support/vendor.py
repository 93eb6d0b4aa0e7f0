"""A hosted provider that takes its time: WaveSpeed's calls as the least ASGI application, for benches of many jobs.

The simulators of `tests/support/simulators` check and draw; this one only keeps time, so that the processor is left to
what is measured. A job takes as many seconds as the last word of its prompt says, from the moment it is accepted. Its
picture is a JPEG of 512 x 512 and about 130 kB, different for every job. It counts looks, told under `/looks`.
Run: `python -m bench.support.vendor`; it tells its origin and serves until stdin is closed.
"""

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from PIL import Image
from starlette.types import Receive, Scope, Send

from tests.support.simulators.serving import free_socket, origin_of, running

KEY = "wsk_bench"
MODEL = "wavespeed-ai/flux-control-lora-canny"
SIDE = 512


def picture() -> bytes:
    """A picture with as much detail as a photograph."""
    rows = np.random.default_rng(1).integers(0, 256, (SIDE // 2, SIDE // 2, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(rows).resize((SIDE, SIDE)).save(target, "JPEG", quality=88)
    return target.getvalue()


def numbered(jpeg: bytes, number: int) -> bytes:
    """The same picture as a file of its own: a comment after the start of the image (ITU T.81, B.2.4.5)."""
    comment = str(number).encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


@dataclass(slots=True)
class Vendor:
    """The application, with every job's end and the number of looks at it."""

    origin: str
    jpeg: bytes = field(default_factory=picture)
    ends_at: dict[str, float] = field(default_factory=dict[str, float])
    looks: dict[str, int] = field(default_factory=dict[str, int])
    numbers: "count[int]" = field(default_factory=count)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        content, kind = self.answer(scope["method"], scope["path"], body)
        headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def answer(self, method: str, path: str, body: bytes) -> tuple[bytes, bytes]:
        """The reply to a request: its bytes and their type."""
        if path.startswith("/outputs/"):
            return numbered(self.jpeg, int(path.rpartition("/")[2])), b"image/jpeg"
        if path.endswith("/result"):
            return _told(self.state_of(path.split("/")[-2])), b"application/json"
        match method, path:
            case "POST", "/api/v3/media/uploads":
                put: dict[str, object] = {
                    "method": "PUT",
                    "url": f"{self.origin}/storage/map",
                    "headers": dict[str, str](),
                }
                return _told({"upload": put, "download_url": f"{self.origin}/media/map"}), b"application/json"
            case "POST", _:
                return _told(self.accept(json.loads(body)["prompt"])), b"application/json"
            case _, "/looks":
                return json.dumps(list(self.looks.values())).encode(), b"application/json"
            case _:
                return b"", b"text/plain"

    def accept(self, prompt: str) -> dict[str, object]:
        """Start a job."""
        job = str(next(self.numbers))
        self.ends_at[job] = time.monotonic() + float(prompt.rsplit(maxsplit=1)[-1])
        return self._prediction(job, "created")

    def state_of(self, job: str) -> dict[str, object]:
        """How a job stands."""
        self.looks[job] = self.looks.get(job, 0) + 1
        return self._prediction(job, "completed" if time.monotonic() >= self.ends_at[job] else "processing")

    def _prediction(self, job: str, status: str) -> dict[str, object]:
        outputs = [f"{self.origin}/outputs/{job}"] if status == "completed" else []
        return {
            "id": job,
            "status": status,
            "outputs": outputs,
            "urls": {"get": f"{self.origin}/api/v3/predictions/{job}/result"},
            "has_nsfw_contents": [False] * len(outputs),
            "error": "",
        }


def _told(data: object) -> bytes:
    return json.dumps({"code": 200, "message": "success", "data": data}).encode()


@contextlib.contextmanager
def vendor() -> Generator[str]:
    """Serve in a process of its own; gives the origin."""
    command = [sys.executable, "-m", "bench.support.vendor"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def main() -> None:
    """Serve."""
    listening = free_socket()
    origin = origin_of(listening)
    with running(Vendor(origin), listening, keep_alive_seconds=60):
        print(origin, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
