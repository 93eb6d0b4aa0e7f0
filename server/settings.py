"""Settings of the operator, read once from the environment into a frozen object."""

import difflib
import math
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.limits import STAND_IN_SPACE, AddressRange, Limits, Network
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.foundation.text import checked_url
from controlnet_mcp.images.maps import MapModels
from controlnet_mcp.jobs.budget import JOBS, Spending
from controlnet_mcp.providers.registry import NAMES, faults_of, is_provider_variable, is_secret
from controlnet_mcp.server.environment import (
    Kind,
    expanded,
    read_values,
    split_amounts,
    split_folders,
    split_names,
    unknown_names,
)

PREFIX = "CONTROLNET_MCP_"
_WORD = re.compile(r"[a-z][a-z_.-]{,19}")
_MEBIBYTE = 1024 * 1024


def check_names(names: tuple[str, ...], known: tuple[str, ...] = NAMES) -> tuple[str, ...]:
    """Refuse providers that do not exist; a name that stands twice counts once.

    Raises:
        ValueError: Some do not; it names those that do.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        words = [name for name in unknown if _WORD.fullmatch(name)]  # anything else may be a key that went astray
        shown = f" ({', '.join(words)[:60]})" if words else ""
        raise ValueError(f"names unknown providers{shown}.{meant} Known: {', '.join(known)}")
    return tuple(dict.fromkeys(names))


WRONG_AMOUNTS = "amounts are numbers from 0, as in scenario=20, wavespeed=1.5"


def check_amounts(amounts: dict[str, float]) -> dict[str, float]:
    """Refuse amounts that would cap nothing.

    Raises:
        ValueError: An amount is negative or no number, or belongs to no provider.
    """
    if not all(math.isfinite(amount) and amount >= 0 for amount in amounts.values()):
        raise ValueError(WRONG_AMOUNTS)
    check_names(tuple(amounts), (*NAMES, JOBS))
    return amounts


def read_ranges(rows: object) -> object:
    """Read networks, written as in a proxy's configuration (`198.18.0.1/16`) or as they are (`198.18.0.0/15`).

    Raises:
        ValueError: One is no network.
    """
    if not isinstance(rows, list):
        return rows
    try:
        return [ip_network(str(row), strict=False) for row in cast("list[object]", rows)]
    except ValueError:
        raise ValueError("networks are written as 198.18.0.0/15") from None  # the value may be a secret gone astray


def check_stand_ins(ranges: tuple[AddressRange, ...]) -> tuple[AddressRange, ...]:
    """Refuse networks in which a name could lead to somebody.

    Raises:
        ValueError: One is not within `STAND_IN_SPACE`.
    """
    for row in ranges:
        if not any(row.network_address in space and row.broadcast_address in space for space in STAND_IN_SPACE):
            listed = ", ".join(map(str, STAND_IN_SPACE))
            raise ValueError(f"{row} may hold real hosts; stand-in addresses of proxies lie within {listed}")
    return ranges


ENVIRONMENT = "environment"
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def environment_proxy(scheme: str, host: str = "") -> str | None:
    """The proxy that the environment, or on macOS and Windows the system, names for URLs of a scheme and a host."""
    from urllib.request import getproxies, proxy_bypass

    found = getproxies()
    return None if host and proxy_bypass(host) else found.get(scheme) or found.get("all")


def check_proxy(text: str | None) -> str | None:
    """Read the URL of a proxy, or the word for that of the environment.

    Raises:
        ValueError: It is neither.
    """
    if text is None or text.lower() in {ENVIRONMENT, "true"}:
        return text and ENVIRONMENT
    with suppress(ValueError):  # its own sentences repeat what may be a password
        url = urlsplit(text if "://" in text else f"http://{text}")
        scheme = {"socks": "socks5"}.get(url.scheme, url.scheme)
        if scheme in {"http", "https", "socks5", "socks5h"} and url.hostname and url.port != 0:
            return url._replace(scheme=scheme).geturl()
    raise ValueError("a proxy is written as http://host:port or socks5://host:port")


def check_keys(keys: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """Refuse variables of providers that make no sense to them.

    Raises:
        ValueError: It names the variables.
    """
    if wrong := faults_of(keys):
        raise ValueError("; ".join(f"{name}: {plain(message)}" for name, message in wrong))
    return keys


def plain(message: str) -> str:
    """A sentence of pydantic's as it follows the name of a variable."""
    said = message.removeprefix("Value error, ").partition(", unable to")[0]
    return said.replace("Input should", "should").replace("a valid boolean", "true or false").replace("'", "")


def _from_text(read: Callable[[str], object]) -> BeforeValidator:
    """Reads text by a function; what came as another type stays as it is."""
    return BeforeValidator(lambda given: read(given) if isinstance(given, str) else given)


Names = Annotated[tuple[str, ...], _from_text(split_names)]
"""A list, written with commas."""
Ranges = Annotated[
    tuple[AddressRange, ...],
    AfterValidator(check_stand_ins),
    BeforeValidator(read_ranges),
    _from_text(split_names),
]
Providers = Annotated[tuple[str, ...], AfterValidator(check_names), _from_text(split_names), _from_text(str.lower)]
Folders = Annotated[tuple[Path, ...], _from_text(split_folders)]
Amounts = Annotated[dict[str, float], AfterValidator(check_amounts), _from_text(split_amounts)]
"""Provider to an amount in its own unit, written as `scenario=20, wavespeed=1.5`; `jobs` counts paid jobs of all."""
Url = Annotated[str, AfterValidator(checked_url)]


def _full(path: Path) -> Path:
    return Path(expanded(str(path), {})).absolute()


def system_variables() -> dict[str, str]:
    """The part of our environment that a child process needs: where the system's own files are, and no key."""
    names = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


class Settings(BaseModel):
    """Settings with the prefix `CONTROLNET_MCP_`; the README's table is made from this.

    What is not handed in is read from the environment.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    data_dir: Path | None = Field(
        default=None, description="Where jobs and pictures are kept. Default: the user data folder"
    )
    allowed_dirs: Folders | None = Field(
        default=None,
        description="Comma list of folders from which local pictures may be read. Default: the data folder, the "
        "working directory unless it is / or the home folder, and Pictures, Downloads, Desktop",
    )
    trusted_hosts: Annotated[frozenset[str], _from_text(split_names)] = Field(
        default=frozenset(),
        description="Comma list of host or host:port that pictures may come from although private or http",
    )
    stand_in_addresses: Ranges = Field(
        default=(),
        description="Comma list of networks where a proxy on this network (Clash, Surge, sing-box) lets public names "
        "resolve to, as 198.18.0.0/15: links are followed there",
    )
    fetch_proxy: Annotated[str | None, AfterValidator(check_proxy)] = Field(
        default=None,
        description="URL of a proxy through which links of pictures and results are fetched, or environment for that "
        "of HTTPS_PROXY. Default: directly",
    )
    public_url: Url | None = Field(
        default=None, description="Where others reach this server's /files/, as https://host or https://host/prefix"
    )
    providers: Providers = Field(default=(), description="Comma list: the order in which provider=auto tries providers")
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
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        _from_text(lambda level: {"WARN": "WARNING"}.get(level.upper(), level.upper())),
    ] = Field(default="WARNING", description="What goes to stderr")
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
    oauth_issuer: Url | None = Field(default=None, description="HTTP: URL of the authorization server (OAuth 2.1)")
    oauth_resource: Url | None = Field(
        default=None, description="HTTP: URL of this server's /mcp, which tokens must be issued for"
    )
    oauth_jwks_url: Url | None = Field(
        default=None, validate_default=True, description="HTTP: where the issuer publishes its keys"
    )
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

    keys: Annotated[dict[str, SecretStr], AfterValidator(check_keys)] = Field(default={}, exclude=True)
    """The providers' own variables, without a prefix of ours: `SCENARIO_API_KEY`, `SEGMIND_BASE_URL`."""

    @model_validator(mode="before")
    @classmethod
    def add_variables(cls, given: dict[str, object]) -> dict[str, object]:
        """Read what is not handed in from the environment."""
        values = read_values(os.environ, kind_of).values
        keys = {name: value for name, value in values.items() if is_provider_variable(name)}
        ours = {field_of(name): value for name, value in values.items() if name not in keys}
        return {"keys": keys, **ours, **given}

    @field_validator("oauth_jwks_url")
    @classmethod
    def check_oauth(cls, url: str | None, read: ValidationInfo) -> str | None:
        """Refuse half of an OAuth configuration: it protects nothing."""
        given = [url, *(read.data.get(name, url) for name in ("oauth_issuer", "oauth_resource"))]
        if any(given) and not all(given):
            raise ValueError("OAUTH_ISSUER, OAUTH_RESOURCE and OAUTH_JWKS_URL belong together: set all three or none")
        return url

    @property
    def authenticates(self) -> bool:
        """Callers over HTTP have to authenticate."""
        return self.tokens_file is not None or self.oauth_issuer is not None

    @property
    def data_folder(self) -> Path:
        """The data folder that is in force.

        Raises:
            RequestError: `not_configured`: none is set, and this user has no home folder.
        """
        if self.data_dir is not None:
            return _full(self.data_dir)
        from platformdirs import user_data_path

        try:
            return user_data_path("controlnet-mcp", appauthor=False)
        except RuntimeError as error:
            message = "There is no place for jobs and pictures, because this user has no home folder."
            hint = f"Set {PREFIX}DATA_DIR to a folder that can be written."
            raise RequestError("not_configured", message, hint=hint) from error

    @property
    def allowed_folders(self) -> tuple[Path, ...]:
        """The folders from which local pictures may be read."""
        if self.allowed_dirs is not None:
            return tuple(map(_full, self.allowed_dirs))
        usual, home, here = [self.data_folder], Path(expanded("~", {})), None
        if home.is_absolute():  # else this user has none
            usual += [home / name for name in ("Pictures", "Downloads", "Desktop")]
        with suppress(FileNotFoundError):  # it was deleted
            here = Path.cwd()
        return tuple(usual if here is None or here in {Path(here.anchor), home} else [here, *usual])

    @property
    def map_models(self) -> MapModels:
        """The user's own model files for maps that need trained weights."""
        depth, pose = (path and _full(path) for path in (self.depth_model, self.pose_model))
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
    def network(self) -> Network:
        """The way to links of hosts that are not trusted.

        Raises:
            RequestError: `not_configured`: the proxy that the environment names is none.
        """
        named = next((name for name in _PROXY_VARIABLES if os.environ.get(name)), None)
        proxy = self.fetch_proxy
        if proxy == ENVIRONMENT:
            try:
                proxy = check_proxy(environment_proxy("https"))
            except ValueError as error:
                raise RequestError(
                    "not_configured",
                    f"The proxy of the environment cannot be used for links: {error}.",
                    hint=f"Correct {named}, or write the proxy into CONTROLNET_MCP_FETCH_PROXY.",
                ) from error
        return Network(self.stand_in_addresses, proxy, named)

    @property
    def spending(self) -> Spending:
        """The rules on money."""
        return Spending(
            per_call=self.max_cost_per_job,
            per_session=self.max_cost_per_session,
            per_day=self.max_cost_per_day,
            confirm_above=self.confirm_above,
            estimates=self.cost_estimates,
            jobs_in_flight=self.max_jobs_in_flight,
        )

    @cached_property
    def redactor(self) -> Redactor:
        """Cuts all secrets out of text, pairs as Basic authentication joins them included; one for the process."""
        keys = [value for name, value in self.keys.items() if is_secret(name)]
        texts = [key.get_secret_value() for key in keys]
        pairs = [SecretStr(f"{first}:{second}") for first in texts for second in texts if first != second]
        return Redactor([*keys, *pairs])


_PATHS = frozenset({"data_dir", "depth_model", "pose_model", "tokens_file"})


def field_of(name: str) -> str:
    """The field of `Settings` that a variable with our prefix is about; empty for any other variable."""
    return name.upper().removeprefix(PREFIX).lower() if name.upper().startswith(PREFIX) else ""


def kind_of(name: str) -> Kind | None:
    """How a variable is read; `None` for those that are not ours."""
    if is_provider_variable(name):
        return "key" if is_secret(name) else "text"
    field = field_of(name)
    if field == "keys" or field not in Settings.model_fields:
        return None
    return "folders" if field == "allowed_dirs" else "path" if field in _PATHS else "text"


def environment_notes() -> tuple[str, ...]:
    """Sentences on variables that say nothing although they are set, or that nobody reads; none repeats a value."""
    known = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields if field != "keys"]
    unread = unknown_names(os.environ, known, PREFIX, is_provider_variable)
    return (*read_values(os.environ, kind_of).notes, *unread)
