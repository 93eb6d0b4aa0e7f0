"""Tools are data: a name, typed arguments, hints, and a handler that is given what it depends on."""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps import NO_MODELS, MapModels
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.jobs.service import Caller, JobService
from controlnet_mcp.providers.registry import ProviderEntry
from controlnet_mcp.tools.arguments import checked


class Arguments(BaseModel):
    """Arguments of a tool: unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Progress(Protocol):
    """Tells a waiting caller how far a job is: fraction 0 to 1, and what is being done."""

    async def __call__(self, fraction: float, message: str) -> None:
        """Send one notification."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        caller: Who asks.
        progress: How to tell progress; `None` when the request did not ask for it.
    """

    caller: Caller
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers depend on; lives once per process.

    Attributes:
        seen_paths: Where pictures were found, by hash, so that asking for a job again looks nothing up.
    """

    desk: JobService
    entries: Sequence[ProviderEntry]
    reader: PictureReader
    blobs: BlobStore
    wait_seconds: float
    wait_seconds_without_progress: float
    previews: bool
    map_models: MapModels = NO_MODELS
    seen_paths: dict[str, Path] = field(default_factory=dict[str, Path])


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that an answer shows: a small preview inside, and a link to the original."""

    uri: str
    name: str
    picture: StoredPicture


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answers.

    Attributes:
        body: The typed facts; nulls are left out when they are written.
        pictures: Pictures to link to.
        previews: Whether small previews of them go inside the answer.
        job_id: The job that the answer is the first to name: once it went out, the same arguments mean a new job.
    """

    body: BaseModel
    pictures: tuple[Shown, ...] = ()
    previews: bool = False
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """What hosts may assume of a tool, as in the protocol's annotations."""

    read_only: bool
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ToolSpec(Generic[ArgumentsT]):
    """One tool.

    Attributes:
        name: As clients call it.
        title: For people.
        description: For models; clients pay for it on every turn.
        arguments: Typed arguments.
        hints: Annotations.
        handler: Does it.
        output: Type of the structured answer, for tools that always give one.
    """

    name: str
    title: str
    description: str
    arguments: type[ArgumentsT]
    hints: Hints
    handler: Callable[[Services, ArgumentsT, Call], Awaitable[Answer]]
    output: type[BaseModel] | None = None

    async def run(self, services: Services, arguments: Mapping[str, object], call: Call) -> Answer:
        """Check the arguments and do it.

        Raises:
            ControlNetError: Anything that the caller should be told.
        """
        return await self.handler(services, checked(self.arguments, arguments), call)


class Tool(Hashable, Protocol):
    """Any tool, whatever its arguments: what lists, schemas and servers need of a `ToolSpec`."""

    @property
    def name(self) -> str:
        """As clients call it."""
        ...

    @property
    def title(self) -> str:
        """For people."""
        ...

    @property
    def description(self) -> str:
        """For models."""
        ...

    @property
    def arguments(self) -> type[BaseModel]:
        """Typed arguments."""
        ...

    @property
    def hints(self) -> Hints:
        """Annotations."""
        ...

    @property
    def output(self) -> type[BaseModel] | None:
        """Type of the structured answer."""
        ...

    async def run(self, services: Services, arguments: Mapping[str, object], call: Call) -> Answer:
        """Check the arguments and do it."""
        ...
