"""What a process uses: seconds on the clock and of the processor, and memory. Linux: it reads `/proc`."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

_SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Taken:
    """One round: seconds on the clock and of the processor, and the most memory in MiB."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


@dataclass(slots=True)
class Meter:
    """Reads what a process used."""

    pid: int
    wall: float = field(default_factory=time.perf_counter)
    cpu: float = 0.0

    def start(self) -> None:
        """Begin a round; the memory's peak is counted anew (proc_pid_clear_refs(5))."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")
        self.wall, self.cpu = time.perf_counter(), self.cpu_seconds()

    def stop(self) -> Taken:
        """End a round."""
        return Taken(time.perf_counter() - self.wall, self.cpu_seconds() - self.cpu, self.mib("VmHWM"))

    def cpu_seconds(self) -> float:
        """Processor time so far, in all threads."""
        user, system = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) * _SECONDS_PER_TICK

    def mib(self, name: str) -> float:
        """A figure of /proc/pid/status, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(row for row in status.splitlines() if row.startswith(f"{name}:"))
        return int(line.split()[1]) / 1024
