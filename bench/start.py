"""How long a host waits for this server, beside the least that the SDK can do: spawn to the answer of `tools/list`.

Servers take turns, so that a busy machine slows all of them; figures are medians, and ratios are medians of each
round's ratio. Processor time is user and system time of the whole process, its end included; memory is its peak.
Run: `python -m bench.start [rounds]`. Linux and macOS: it needs `os.wait4`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from bench.support.command import run

Era: TypeAlias = Literal["modern", "handshake"]
ROUNDS = 15
WARM_UPS = 2
FLOORS = Path(__file__).with_name("support") / "floors.py"
SERVERS: dict[str, list[str]] = {
    "controlnet-mcp": ["-c", "from controlnet_mcp.server.cli import main; main()"],
    "MCPServer": [str(FLOORS), "mcpserver"],
    "lowlevel Server": [str(FLOORS), "lowlevel"],
}
_CLIENT = {"name": "bench", "version": "1"}
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": _CLIENT}
_REQUESTS: dict[Era, list[dict[str, object]]] = {
    "modern": [{"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"_meta": _META}}],
    "handshake": [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _HELLO},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ],
}
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Start:
    """One start: milliseconds until the answer and of the processor, and the peak of memory in MiB."""

    wall_ms: float
    cpu_ms: float
    peak_mib: float


def start(arguments: list[str], era: Era, environment: dict[str, str]) -> Start:
    """Start a server, ask for its tools, close stdin and wait for its end."""
    messages = "".join(f"{json.dumps(message)}\n" for message in _REQUESTS[era]).encode()
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(messages)
    process.stdin.flush()
    answer = next(line for line in process.stdout if json.loads(line).get("id") == 2)
    wall_ms = (time.perf_counter() - began) * 1000
    assert json.loads(answer)["result"]["tools"]
    process.stdin.close()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Start(wall_ms, (usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss * _MAXRSS_UNIT / 2**20)


def measure(era: Era, rounds: int, environment: dict[str, str]) -> dict[str, list[Start]]:
    """Start every server once per round, in turns, after the warm-ups."""
    starts: dict[str, list[Start]] = {name: [] for name in SERVERS}
    for number in range(WARM_UPS + rounds):
        for name, arguments in SERVERS.items():
            taken = start(arguments, era, environment)
            if number >= WARM_UPS:
                starts[name].append(taken)
    return starts


def show(era: Era, starts: dict[str, list[Start]]) -> None:
    """Print medians, and what ours costs in proportion to each floor."""
    ours = starts["controlnet-mcp"]
    print(f"\n{era:<18} wall ms   CPU ms  peak MiB   ours in proportion: wall    CPU  memory")
    for name, rows in starts.items():
        figures = [statistics.median(row) for row in zip(*map(_figures, rows), strict=True)]
        pairs = [
            [a / b for a, b in zip(_figures(our), _figures(row), strict=True)]
            for our, row in zip(ours, rows, strict=True)
        ]
        ratios = [statistics.median(row) for row in zip(*pairs, strict=True)]
        shown = "" if name == "controlnet-mcp" else "{:>25.2f}  {:5.2f}   {:5.2f}".format(*ratios)
        print("{:<18} {:7.0f}  {:7.0f}   {:7.1f}".format(name, *figures) + shown)


def _figures(row: Start) -> tuple[float, float, float]:
    return row.wall_ms, row.cpu_ms, row.peak_mib


def main(rounds: int = ROUNDS) -> None:
    """Measure both eras."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CONTROLNET_MCP_DATA_DIR": folder, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode; warm-ups make ours
        eras: tuple[Era, ...] = ("modern", "handshake")
        for era in eras:
            show(era, measure(era, rounds, environment))


if __name__ == "__main__":
    run(main)
