"""Make a data folder with jobs in every state that a server leaves behind, and note what that server says of them.

Run it with the environment of the version whose folder is wanted, `python make.py VERSION TARGET`: it writes
`VERSION.zip` and `VERSION.json` into the folder TARGET. It starts the installed server, speaks the protocol to it and
uses nothing else of the project, so it runs beside any version. The one provider with a key is WaveSpeed, which a few
lines below stand for. The last server is killed while jobs run, wait, are being submitted and are downloaded.
"""

import base64
import io
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image, ImageDraw
from pydantic import JsonValue, TypeAdapter

_SIDE, _PAID_SIDE = 64, 512
_LONGEST_SECONDS = 60.0
_PROGRAM = "import socket; socket.gethostname = lambda: 'machine'; from controlnet_mcp.server.cli import main; main()"
"""The server; the name of the machine would be kept as the owner of leases."""
_VERSION = "2026-07-28"
_META: dict[str, JsonValue] = {
    "io.modelcontextprotocol/protocolVersion": _VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "make", "version": "1"},
}
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_TOKEN = "alice-" + "a" * 40
_ENDED = frozenset({"succeeded", "failed", "canceled", "uncertain"})


def main(version: str, target: str) -> None:
    """Make the folder and write it with what was said of it."""
    with tempfile.TemporaryDirectory() as made, serving() as vendor:
        folder, pictures = Path(made) / "data", _draw(Path(made) / "pictures")
        noted = _fill(folder, pictures, vendor)
        copy = Path(made) / "copy"
        shutil.copytree(folder, copy)
        vendor.released.set()
        noted |= _answers(copy, pictures, vendor, noted)
        noted |= {"version": version, "vendor": vendor.origin, "token": _TOKEN}
        _pack(folder, Path(target) / f"{version}.zip")
    Path(target, f"{version}.json").write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")


def _draw(folder: Path) -> Path:
    """Draw the pictures that are handed in."""
    folder.mkdir()
    for name, ground, ink in (
        ("photo", "#88aacc", "#225522"),
        ("sketch", "white", "black"),
        ("mask", "black", "white"),
    ):
        picture = Image.new("RGB", (_SIDE, _SIDE), ground)
        ImageDraw.Draw(picture).ellipse((12, 12, 50, 50), fill=ink if name != "sketch" else None, outline=ink, width=3)
        ImageDraw.Draw(picture).line((4, 58, 60, 58), fill=ink, width=3)
        picture.save(folder / f"{name}.png")
    return folder


class Vendor(ThreadingHTTPServer):
    """WaveSpeed as its published client sees it; the prompt of a job says what becomes of it.

    Attributes:
        prompts: The prompt of every accepted task, by its id.
        held: Set when a submission arrived that is never answered.
        released: From now on everything goes well.
    """

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port of this machine."""
        super().__init__(("127.0.0.1", 0), _Vendor)
        self.prompts: dict[str, str] = {}
        self.held, self.released = threading.Event(), threading.Event()

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Vendor(BaseHTTPRequestHandler):
    server: Vendor  # pyright: ignore[reportIncompatibleVariableOverride]  # always one of these

    def do_PUT(self) -> None:
        self._body()
        self._reply(200, b"")

    def do_POST(self) -> None:
        body, origin = _OBJECT.validate_json(self._body()), self.server.origin
        if self.path.endswith("/media/uploads"):
            name = secrets.token_hex(4)
            put: JsonValue = {"method": "PUT", "url": f"{origin}/storage/{name}", "headers": {}}
            self._tell({"upload": put, "download_url": f"{origin}/media/{name}"})
        elif self.path.endswith("/model/price"):
            self._tell({"price": 0.03, "discounted_price": "0.027"})
        else:
            self._submit(str(body["prompt"]))

    def do_GET(self) -> None:
        task = next((name for name in self.server.prompts if name in self.path), None)
        if task is None:
            self._reply(404, b'{"code": 404, "message": "prediction not found"}')
        elif self.path.startswith("/outputs/"):
            broken = "no download" in self.server.prompts[task] and not self.server.released.is_set()
            self._reply(503 if broken else 200, b"" if broken else _jpeg(task), "image/jpeg")
        else:
            self._tell(self._prediction(task))

    def _submit(self, prompt: str) -> None:
        if "no credit" in prompt:
            self._reply(400, b'{"code": 400, "message": "Insufficient credits. Please top up to continue."}')
        elif "lost" in prompt:
            self.close_connection = True
        elif "held" in prompt:
            self.server.held.set()
            self.server.released.wait()
        else:
            task = secrets.token_hex(16)
            self.server.prompts[task] = prompt
            self._tell({"id": task, "status": "created", "outputs": [], "error": ""})

    def _prediction(self, task: str) -> JsonValue:
        prompt = self.server.prompts[task]
        if "fails" in prompt:
            return {"id": task, "status": "failed", "outputs": [], "error": "The model ran out of memory", "code": 1500}
        if "stays" in prompt and not self.server.released.is_set():
            return {"id": task, "status": "processing", "outputs": [], "error": ""}
        outputs: list[JsonValue] = [f"{self.server.origin}/outputs/{task}/0"]
        flags: list[JsonValue] = ["bare" in prompt]
        return {"id": task, "status": "completed", "error": "", "outputs": outputs, "has_nsfw_contents": flags}

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _tell(self, data: JsonValue) -> None:
        self._reply(200, json.dumps({"code": 200, "message": "success", "data": data}).encode())

    def _reply(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def _jpeg(task: str) -> bytes:
    """A picture of a task's own."""
    picture = Image.new("RGB", (_PAID_SIDE, _PAID_SIDE), f"#{task[:6]}")
    ImageDraw.Draw(picture).ellipse((96, 96, 400, 400), fill="white")
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=40)
    return target.getvalue()


@contextmanager
def serving() -> Generator[Vendor]:
    """Serve the vendor."""
    with Vendor() as vendor:
        threading.Thread(target=vendor.serve_forever, daemon=True).start()
        yield vendor
        vendor.shutdown()


@dataclass(slots=True)
class Server:
    """The server over stdio."""

    process: "subprocess.Popen[bytes]"
    number: int = 0

    def tool(self, name: str, **arguments: JsonValue) -> dict[str, JsonValue]:
        """Call a tool; gives what its first block says."""
        self.send("tools/call", name=name, arguments=arguments)
        result = self.answer()
        assert result.get("isError") is not True, result
        return _first(result)

    def picture(self, uri: str) -> bytes:
        """Read a resource that is a picture."""
        self.send("resources/read", uri=uri)
        match self.answer():
            case {"contents": [{"blob": str(blob)}]}:
                return base64.b64decode(blob)
            case other:
                raise AssertionError(other)

    def send(self, method: str, **params: JsonValue) -> None:
        """Send a request."""
        self.number += 1
        message = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": {**params, "_meta": _META}}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, JsonValue]:
        """Wait for the answer to the last request."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = _OBJECT.validate_json(line)
            if message.get("id") == self.number:
                assert "result" in message, message
                return _OBJECT.validate_python(message["result"])
        raise AssertionError("the server has ended")


def _first(result: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    match result:
        case {"content": [{"text": str(text)}, *_]}:
            return _OBJECT.validate_json(text)
        case _:
            raise AssertionError(result)


@contextmanager
def started(folder: Path, pictures: Path, vendor: Vendor, **more: str) -> Generator[Server]:
    """Start a server that ends with its stdin, if it was not killed before."""
    variables = {
        "CONTROLNET_MCP_DATA_DIR": str(folder),
        "CONTROLNET_MCP_ALLOWED_DIRS": str(pictures),
        "CONTROLNET_MCP_TRUSTED_HOSTS": "127.0.0.1",
        "CONTROLNET_MCP_MAX_COST_PER_DAY": "wavespeed=5",
        "CONTROLNET_MCP_LEASE_SECONDS": "2",
        "WAVESPEED_API_KEY": "wsk_of_nobody",
        "WAVESPEED_BASE_URL": vendor.origin,
        "PATH": os.environ["PATH"],
    }
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], env=variables | more, stdin=pipe, stdout=pipe) as process:
        yield Server(process)
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(_LONGEST_SECONDS)


@dataclass(slots=True)
class Calls:
    """Arguments of `controlnet_generate`, by a name for the job."""

    pictures: Path
    rows: dict[str, dict[str, JsonValue]] = field(default_factory=dict[str, dict[str, JsonValue]])

    def add(self, name: str, **arguments: JsonValue) -> None:
        """A job of the draft engine."""
        usual: dict[str, JsonValue] = {
            "prompt": f"a hill, {name}",
            "control_image": str(self.pictures / "photo.png"),
            "provider": "draft",
            "width": _SIDE,
            "height": _SIDE,
            "seed": 7,
        }
        self.rows[name] = usual | arguments

    def paid(self, name: str, **arguments: JsonValue) -> None:
        """A job of the provider with a key."""
        size: dict[str, JsonValue] = {"provider": "wavespeed", "width": _PAID_SIDE, "height": _PAID_SIDE}
        self.add(name, **size, **arguments)


def _ended(pictures: Path) -> Calls:
    """Jobs that end before the server does."""
    sketch, mask, photo = (str(pictures / f"{name}.png") for name in ("sketch", "mask", "photo"))
    calls = Calls(pictures)
    calls.add("plain", modality="canny", request_key="plain-key")
    calls.add("two pictures", modality="canny:0.6,depth:0.4", num_images=2, negative_prompt="fog", steps=20)
    calls.add("ready map", control_image=sketch, control_is_map=True, modality="sketch", model="ink")
    extra: JsonValue = {"modality": "lineart", "image": sketch, "weight": 0.5, "start": 0.1, "end": 0.8}
    calls.add("all pictures", extra_controls=[extra], init_image=photo, mask_image=mask, strength=0.4)
    calls.add("without a mark", modality="softedge", provider_options={"mark": False}, scheduler="euler", guidance=7)
    for simulate in ("moderated", "payment_required", "rate_limited", "failed", "timed_out"):
        calls.add(simulate, provider_options={"simulate": simulate, "seconds": 0.1})
    calls.paid("paid")
    calls.paid("bare skin", modality="depth:0.8", request_key="bare-key")
    for name in ("fails there", "no credit", "lost on the way"):
        calls.paid(name)
    return calls


def _left(pictures: Path) -> Calls:
    """Jobs that the server leaves behind, each as it stands when the server is killed."""
    calls = Calls(pictures)
    calls.add("drawn", provider_options={"simulate": "progress", "seconds": 6})
    calls.add("in line", provider_options={"simulate": "queued", "seconds": 6}, request_key="line-key")
    calls.paid("stays there")
    calls.paid("no download")
    calls.paid("held")
    calls.paid("behind")
    return calls


def _fill(folder: Path, pictures: Path, vendor: Vendor) -> dict[str, JsonValue]:
    """Fill the folder: a session that ends well, callers over HTTP, and a session that is killed."""
    ids: dict[str, JsonValue] = {}
    with started(folder, pictures, vendor) as server:
        for name, arguments in _ended(pictures).rows.items():
            ids[name] = server.tool("controlnet_generate", **arguments, wait_seconds=60)["job_id"]
        ids["repeated"] = server.tool("controlnet_generate", like_job=ids["plain"], prompt="dusk", wait_seconds=60)[
            "job_id"
        ]
        ids["stopped"] = _stopped(server, pictures)
        photo = str(pictures / "photo.png")
        server.tool("controlnet_generate", prompt="dry", control_image=photo, provider="wavespeed", dry_run=True)
        maps = {name: server.tool("extract_control_map", image=photo, modality=name) for name in ("canny", "softedge")}
    alice = _of_alice(folder, pictures)
    unheard: dict[str, JsonValue] = {
        "prompt": "never answered",
        "control_image": f"data:image/png;base64,{base64.b64encode(Path(photo).read_bytes()).decode()}",
        "provider": "draft",
        "width": _SIDE,
        "height": _SIDE,
        "provider_options": {"simulate": "queued", "seconds": 6},
        "wait_seconds": 60,
    }
    left = _leave(folder, pictures, vendor, unheard)
    return {
        "ended": ids,
        "left": left,
        "alice": alice,
        "unheard": unheard,
        "maps": [row["uri"] for row in maps.values()],
        "request_keys": {"plain": "plain-key", "bare skin": "bare-key", "in line": "line-key"},
    }


def _stopped(server: Server, pictures: Path) -> JsonValue:
    calls = Calls(pictures)
    calls.add("stopped", provider_options={"simulate": "queued", "seconds": 600})
    job_id = server.tool("controlnet_generate", **calls.rows["stopped"], wait_seconds=0)["job_id"]
    server.tool("cancel_job", job_id=job_id)
    return job_id


def _of_alice(folder: Path, pictures: Path) -> JsonValue:
    """A job of a caller with a token, made over HTTP."""
    tokens = pictures.parent / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(f"alice: {_TOKEN}\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    words = ("serve", "--transport", "streamable-http", "--port", str(port))
    variables = {
        "CONTROLNET_MCP_DATA_DIR": str(folder),
        "CONTROLNET_MCP_TOKENS_FILE": str(tokens),
        "PATH": os.environ["PATH"],
    }
    image = base64.b64encode((pictures / "photo.png").read_bytes()).decode()
    arguments: JsonValue = {
        "prompt": "hers",
        "control_image": f"data:image/png;base64,{image}",
        "width": _SIDE,
        "height": _SIDE,
        "wait_seconds": 30,
        "previews": False,
    }
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, *words], env=variables) as process:
        _until(lambda: _listens(port))
        params: JsonValue = {"name": "controlnet_generate", "arguments": arguments, "_meta": _META}
        job_id = _posted(port, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})["job_id"]
        process.terminate()
    return job_id


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _posted(port: int, message: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "authorization": f"Bearer {_TOKEN}",
        "mcp-protocol-version": _VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "controlnet_generate",
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}/mcp", json.dumps(message).encode(), headers)
    with urllib.request.urlopen(request, timeout=_LONGEST_SECONDS) as reply:  # noqa: S310  # this machine
        text: str = reply.read().decode()
    line = next(row for row in text.splitlines() if '"result"' in row)
    return _first(_OBJECT.validate_python(_OBJECT.validate_json(line.removeprefix("data:"))["result"]))


def _leave(folder: Path, pictures: Path, vendor: Vendor, unheard: dict[str, JsonValue]) -> JsonValue:
    """Start jobs, and kill the server when each stands where it should."""
    ids: dict[str, JsonValue] = {}
    with started(folder, pictures, vendor, CONTROLNET_MCP_SUBMISSIONS_IN_FLIGHT="1") as server:
        for name, arguments in _left(pictures).rows.items():
            ids[name] = server.tool("controlnet_generate", **arguments, wait_seconds=0)["job_id"]
            if name == "no download":
                _until(lambda: _states(folder).get(str(ids["no download"])) == "fetching")
            if name == "held":
                assert vendor.held.wait(_LONGEST_SECONDS)
        before = set(_states(folder))
        server.send("tools/call", name="controlnet_generate", arguments=unheard)
        _until(lambda: len(_states(folder)) > len(before))
        (ids["unheard"],) = set(_states(folder)) - before
        wanted = {"drawn": "running", "in line": "running", "unheard": "running", "stays there": "running"}
        wanted |= {"no download": "fetching", "held": "submitting", "behind": "new"}
        _until(lambda: all(_states(folder)[str(ids[name])] == state for name, state in wanted.items()))
        server.process.kill()
    tasks = _states(folder, "task.remote_id")
    return {
        name: {"job_id": ids[name], "state": state, "task": tasks[str(ids[name])]} for name, state in wanted.items()
    }


def _states(folder: Path, name: str = "state") -> dict[str, str]:
    """The states of all jobs, or another field of theirs, as it is on disk."""
    with closing(sqlite3.connect(f"file:{folder}/jobs.sqlite3?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT job_id, json_extract(document, ?) FROM jobs", (f"$.{name}",)).fetchall())


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + _LONGEST_SECONDS
    while not holds():
        assert time.monotonic() < ends, "it never came to that"
        threading.Event().wait(0.05)


def _answers(folder: Path, pictures: Path, vendor: Vendor, noted: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What the next server says: of jobs that had ended at once, of those that were left when they have ended."""
    with started(folder, pictures, vendor) as server:
        listed = server.tool("list_jobs", limit=100)["jobs"]
        assert isinstance(listed, list)
        order = [_OBJECT.validate_python(row)["job_id"] for row in listed]
        jobs: dict[str, JsonValue] = {str(job_id): _final(server, job_id) for job_id in order}
        maps = noted["maps"]
        assert isinstance(maps, list)
        uris = [*map(str, maps), *(uri for job in jobs.values() for uri in _uris(_OBJECT.validate_python(job)))]
        found = _found(server, uris)
    return {"order": order, "jobs": jobs, "pictures": found}


def _final(server: Server, job_id: JsonValue) -> JsonValue:
    while True:
        job = server.tool("job_status", job_id=job_id, wait_seconds=5, previews=False)
        if job["status"] in _ENDED:
            return _without_paths(job)


def _without_paths(job: dict[str, JsonValue]) -> JsonValue:
    """A job without where its pictures lie on this machine."""
    images = job.get("images", [])
    assert isinstance(images, list)
    shown: list[JsonValue] = [
        {name: value for name, value in _OBJECT.validate_python(image).items() if name != "path"} for image in images
    ]
    if shown:
        job["images"] = shown
    return job


def _uris(job: Mapping[str, JsonValue]) -> Iterable[str]:
    """Where pictures of a job may be."""
    root = f"controlnet://jobs/{job['job_id']}"
    names = ("control_image", "init_image", "mask_image", "extra_control_0")
    return (
        f"{root}/images/0",
        f"{root}/images/1",
        f"{root}/control-map",
        *(f"{root}/sources/{name}" for name in names),
    )


def _found(server: Server, uris: Iterable[str]) -> dict[str, JsonValue]:
    """The hashes of the pictures that there are."""
    found: dict[str, JsonValue] = {}
    for uri in uris:
        with suppress(AssertionError):
            found[uri] = sha256(server.picture(uri)).hexdigest()
    return found


def _pack(folder: Path, target: Path) -> None:
    """Write the folder as an archive; what only processes share while they run is left out."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".sqlite3-shm":
                archive.write(path, path.relative_to(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
