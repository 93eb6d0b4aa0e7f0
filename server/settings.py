"""Settings of the operator, read once from the environment into a frozen object."""

import math
import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.images.maps import MapModels
from controlnet_mcp.jobs.budget import JOBS, Spending
from controlnet_mcp.providers.registry import NAMES, check_variables, is_provider_variable, is_secret

PREFIX = "CONTROLNET_MCP_"
_MEBIBYTE = 1024 * 1024


def split_commas(text: object) -> object:
    """Read a comma list."""
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


def read_pairs(rows: object) -> object:
    """Read rows of `name=amount`."""
    if not isinstance(rows, list):
        return rows
    pairs = [str(row).partition("=") for row in cast("list[object]", rows)]
    return {name.strip(): amount.strip() for name, _, amount in pairs}


def check_amounts(amounts: dict[str, float]) -> dict[str, float]:
    """Refuse amounts that would cap nothing.

    Raises:
        ValueError: An amount is negative or no number.
    """
    if not all(math.isfinite(amount) and amount >= 0 for amount in amounts.values()):
        raise ValueError("amounts are numbers from 0, as in scenario=20, wavespeed=1.5")
    return amounts


CommaList = BeforeValidator(split_commas)
"""A list, written with commas."""
Names = Annotated[tuple[str, ...], CommaList]
Amounts = Annotated[dict[str, float], AfterValidator(check_amounts), BeforeValidator(read_pairs), CommaList]
"""Provider to an amount in its own unit, written as `scenario=20, wavespeed=1.5`; `jobs` counts paid jobs of all."""


def read_keys() -> dict[str, SecretStr]:
    """Read the providers' own variables, without a prefix of ours: `SCENARIO_API_KEY`, `SEGMIND_BASE_URL`.

    Raises:
        ValidationError: A value that makes no sense to its provider.
    """
    values = {name: value.strip() for name, value in os.environ.items() if is_provider_variable(name)}
    keys = {name: SecretStr(value) for name, value in values.items() if value}
    check_variables(keys)
    return keys


def system_variables() -> dict[str, str]:
    """The part of our environment that a child process needs: where the system's own files are, and no key."""
    names = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


class Settings(BaseSettings):
    """Settings with the prefix `CONTROLNET_MCP_`; the README's table is made from this."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, enable_decoding=False
    )

    data_dir: Path | None = Field(
        default=None, description="Where jobs and pictures are kept. Default: the user data folder"
    )
    allowed_dirs: Annotated[tuple[Path, ...] | None, CommaList] = Field(
        default=None,
        description="Comma list of folders from which local pictures may be read. Default: the data folder, the "
        "working directory unless it is / or the home folder, and Pictures, Downloads, Desktop",
    )
    trusted_hosts: Annotated[frozenset[str], CommaList] = Field(
        default=frozenset(),
        description="Comma list of host or host:port that pictures may come from although private or http",
    )
    public_url: str | None = Field(
        default=None, description="Where others reach this server's /files/, as https://host"
    )
    providers: Names = Field(default=(), description="Comma list: the order in which provider=auto tries providers")
    wait_seconds: float = Field(default=45, ge=0, le=300, description="Default wait of a call that asks for progress")
    wait_seconds_without_progress: float = Field(default=4, ge=0, le=300, description="Default wait of any other call")
    depth_model: Path | None = Field(
        default=None, description="A relative depth model of yours as ONNX file, for depth and normal maps of photos"
    )
    pose_model: Path | None = Field(
        default=None, description="A body pose model of yours as ONNX file (RTMO or YOLO pose), for pose maps"
    )
    previews: bool = Field(default=True, description="Whether answers hold small inline pictures")
    resource_links: bool = Field(
        default=False, description="Whether answers link to pictures by blocks of their own also where no https URL is"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="What goes to stderr"
    )
    max_image_bytes: int = Field(default=64 * _MEBIBYTE, ge=1024, description="Largest picture that is read, in bytes")
    max_image_pixels: int = Field(default=40_000_000, ge=1024, description="Largest picture that is decoded, in pixels")
    max_request_bytes: int = Field(default=96 * _MEBIBYTE, ge=65536, description="Largest HTTP request, in bytes")
    fetch_timeout_seconds: float = Field(
        default=20, gt=0, le=300, description="Longest time to fetch a picture from a URL"
    )
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

    # who may connect over HTTP, and under which names this server may be reached
    tokens_file: Path | None = Field(
        default=None, description="HTTP: file with a line `name: token` or `name: sha256:HEX` for each who may connect"
    )
    oauth_issuer: str | None = Field(default=None, description="HTTP: URL of the authorization server (OAuth 2.1)")
    oauth_resource: str | None = Field(
        default=None, description="HTTP: URL of this server's /mcp, which tokens must be issued for"
    )
    oauth_jwks_url: str | None = Field(default=None, description="HTTP: where the issuer publishes its keys")
    oauth_scopes: Names = Field(default=(), description="HTTP: comma list of scopes that a token must have")
    allowed_hosts: Names = Field(
        default=(),
        description="HTTP: comma list of further host or host:port that requests may name; loopback and PUBLIC_URL may",
    )
    allowed_origins: Names = Field(
        default=(), description="HTTP: comma list of further origins whose web pages may connect, as https://host"
    )
    max_requests_per_minute: int = Field(
        default=600, ge=1, description="HTTP: most requests of one authenticated caller, after a burst of as many"
    )

    # caps on spending; none is set by default
    max_cost_per_job: Amounts = Field(
        default={}, description="Comma list of provider=amount: most that one job may cost, in the provider's unit"
    )
    max_cost_per_session: Amounts = Field(
        default={}, description="Likewise for one caller while the server runs; jobs=number counts paid jobs of all"
    )
    max_cost_per_day: Amounts = Field(default={}, description="Likewise for one caller in any 24 hours")
    confirm_above: Amounts = Field(
        default={}, description="Likewise: what costs more is bought only after the user said yes; jobs=0 asks always"
    )
    cost_estimates: Amounts = Field(
        default={}, description="Likewise: price of one picture, for providers that do not tell theirs"
    )
    max_jobs_in_flight: int = Field(default=100, ge=1, description="Most unfinished jobs of one caller")

    keys: dict[str, SecretStr] = Field(default_factory=read_keys, exclude=True)

    @model_validator(mode="after")
    def check_oauth(self) -> Self:
        """Refuse half of an OAuth configuration: it protects nothing."""
        given = [self.oauth_issuer, self.oauth_resource, self.oauth_jwks_url]
        if any(given) and not all(given):
            raise ValueError("oauth_issuer, oauth_resource and oauth_jwks_url belong together: set all three or none")
        return self

    @property
    def authenticates(self) -> bool:
        """Callers over HTTP have to authenticate."""
        return self.tokens_file is not None or self.oauth_issuer is not None

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

    @property
    def spending(self) -> Spending:
        """The rules on money.

        Raises:
            RequestError: `invalid_request` when a rule names an unknown provider: it would cap nothing.
        """
        rules = Spending(
            per_call=self.max_cost_per_job,
            per_session=self.max_cost_per_session,
            per_day=self.max_cost_per_day,
            confirm_above=self.confirm_above,
            estimates=self.cost_estimates,
            jobs_in_flight=self.max_jobs_in_flight,
        )
        named = {*rules.per_call, *rules.per_session, *rules.per_day, *rules.confirm_above, *rules.estimates}
        if unknown := named - {*NAMES, JOBS}:
            raise RequestError(
                "invalid_request",
                f"A rule on spending names unknown providers: {', '.join(sorted(unknown))}.",
                hint=f"Known: {', '.join(NAMES)}, and {JOBS} for all paid jobs.",
            )
        return rules

    @cached_property
    def redactor(self) -> Redactor:
        """Cuts all secrets out of text, pairs as Basic authentication joins them included; one for the process."""
        keys = [value for name, value in self.keys.items() if is_secret(name)]
        texts = [key.get_secret_value() for key in keys]
        pairs = [SecretStr(f"{first}:{second}") for first in texts for second in texts if first != second]
        return Redactor([*keys, *pairs])
