"""Everything the operator can set, read once from the environment into a frozen object."""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from controlnet_mcp.images.maps import MapModels
from controlnet_mcp.images.pictures import Limits
from controlnet_mcp.providers.configuration import ProviderSettings
from controlnet_mcp.providers.secrecy import Redactor
from controlnet_mcp.server.access_settings import AccessSettings
from controlnet_mcp.server.spending_settings import SpendingSettings

PREFIX = "CONTROLNET_MCP_"
_MEBIBYTE = 1024 * 1024


def _split(text: object) -> object:
    """Read a comma list; folders may also be separated as in `PATH`."""
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


def read_keys() -> ProviderSettings:
    """Read the providers' own variables, which have no prefix: `SCENARIO_API_KEY`, `SEGMIND_BASE_URL` and so on."""
    values = {name: os.environ.get(name.upper(), "").strip() for name in ProviderSettings.model_fields}
    return ProviderSettings.model_validate({name: value for name, value in values.items() if value})


def system_variables() -> dict[str, str]:
    """What a process that we start needs of our environment: where the system's own files are, and no key."""
    names = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


class Settings(SpendingSettings, AccessSettings):
    """Settings with the prefix `CONTROLNET_MCP_`; the README's table is made from this."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    data_dir: Path | None = Field(
        default=None, description="Where jobs and pictures are kept. Default: the user data folder"
    )
    allowed_dirs: Annotated[tuple[Path, ...] | None, NoDecode] = Field(
        default=None,
        description="Comma list of folders from which local pictures may be read. Default: the data folder, the "
        "working directory unless it is / or the home folder, and Pictures, Downloads, Desktop",
    )
    trusted_hosts: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Comma list of host or host:port that pictures may come from although private or http",
    )
    public_url: str | None = Field(
        default=None, description="Where others reach this server's /files/, as https://host"
    )
    providers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Comma list: the order in which provider=auto tries providers"
    )
    wait_seconds: float = Field(default=45, ge=0, le=300, description="Default wait of a call that asks for progress")
    wait_seconds_without_progress: float = Field(default=4, ge=0, le=300, description="Default wait of any other call")
    depth_model: Path | None = Field(
        default=None, description="A relative depth model of yours as ONNX file, for depth and normal maps of photos"
    )
    pose_model: Path | None = Field(
        default=None, description="A body pose model of yours as ONNX file (RTMO or YOLO pose), for pose maps"
    )
    previews: bool = Field(default=True, description="Whether answers hold small inline pictures")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="What goes to stderr"
    )
    max_image_bytes: int = Field(default=64 * _MEBIBYTE, ge=1024, description="Largest picture that is read, in bytes")
    max_image_pixels: int = Field(default=40_000_000, ge=1024, description="Largest picture that is decoded, in pixels")
    max_request_bytes: int = Field(default=96 * _MEBIBYTE, ge=65536, description="Largest HTTP request, in bytes")
    fetch_timeout_seconds: float = Field(
        default=20, gt=0, le=300, description="Longest time to fetch a picture from a URL"
    )
    keys: ProviderSettings = Field(default_factory=read_keys, exclude=True)
    job_timeout_seconds: float = Field(
        default=1800, gt=0, le=86400, description="A job that is not done by then has failed"
    )

    lease_seconds: float = Field(
        default=30, ge=2, le=600, description="After this long without a sign of life another process takes a job over"
    )
    submissions_in_flight: int = Field(
        default=4, ge=1, le=64, description="Submissions to one provider at the same moment; more wait in line"
    )

    retention_days: float | None = Field(
        default=None, gt=0, description="Delivered jobs and their pictures are deleted after this. Default: never"
    )

    structure_scores: bool = Field(
        default=True, description="Whether it is measured how much of the asked structure is in a result"
    )

    @field_validator("allowed_dirs", "trusted_hosts", "providers", mode="before")
    @classmethod
    def _read_list(cls, value: object) -> object:
        return _split(value)

    @property
    def data_folder(self) -> Path:
        """The data folder that is in force."""
        if self.data_dir is not None:
            return self.data_dir.expanduser().absolute()
        from platformdirs import user_data_path

        return user_data_path("controlnet-mcp", appauthor=False)

    @property
    def allowed_folders(self) -> tuple[Path, ...]:
        """The folders from which local pictures may be read."""
        if self.allowed_dirs is not None:
            return tuple(folder.expanduser().absolute() for folder in self.allowed_dirs)
        home, here = Path.home(), Path.cwd()
        usual = [self.data_folder, *(home / name for name in ("Pictures", "Downloads", "Desktop"))]
        return tuple(usual if here in {Path(here.anchor), home} else [here, *usual])

    @property
    def map_models(self) -> MapModels:
        """The user's own model files for maps that need trained weights."""
        depth, pose = (path and path.expanduser().absolute() for path in (self.depth_model, self.pose_model))
        return MapModels(depth=depth, pose=pose)

    @property
    def limits(self) -> Limits:
        """Limits on pictures that are read."""
        return Limits(
            max_bytes=self.max_image_bytes,
            max_pixels=self.max_image_pixels,
            fetch_timeout_seconds=self.fetch_timeout_seconds,
        )

    @cached_property
    def redactor(self) -> Redactor:
        """Cuts all secrets out of text, pairs as Basic authentication joins them included; one for the process."""
        keys = [value for value in dict(self.keys).values() if isinstance(value, SecretStr)]
        texts = [key.get_secret_value() for key in keys]
        pairs = [SecretStr(f"{first}:{second}") for first in texts for second in texts if first != second]
        return Redactor([*keys, *pairs])
