"""The adapter of Scenario (api.cloud.scenario.com): ControlNet calls that answer with a job, results as assets.

Facts: the vendor's ControlNet guide, its API schema as a public client keeps it, and scenario-sdk 2.4.0, which has no
typed method for these endpoints any more: whether the live service still answers them is unverified. The guide polls
another host (api.scenario.com) in two snippets; every published client uses one host for all, and so does this.
"""

import base64
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from pydantic import Field, JsonValue, SecretStr

from controlnet_mcp.images.picture import EXTENSIONS, StoredPicture
from controlnet_mcp.providers.base import Provider, Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.scenario.body import body_of, endpoint, query, too_large
from controlnet_mcp.providers.scenario.families import MODALITIES, RULES, SCHEDULERS, family_of
from controlnet_mcp.providers.scenario.jobs import UNIT, report_of
from controlnet_mcp.providers.scenario.options import ScenarioOptions
from controlnet_mcp.providers.scenario.refusals import refusal
from controlnet_mcp.providers.scenario.settle import settle
from controlnet_mcp.providers.scenario.settling import chosen_family
from controlnet_mcp.providers.scenario.wire import (
    NAME,
    AssetReply,
    JobReply,
    LimitsReply,
    ModelPage,
    PriceReply,
    TeamsReply,
    Upload,
    UploadReply,
    read_quietly,
)
from controlnet_mcp.providers.types import (
    Capabilities,
    Cost,
    FittedRequest,
    Frozen,
    ModelInfo,
    Output,
    RemoteTask,
    Report,
    ResolvedRequest,
    SizeLimits,
    Submission,
    Takes,
)
from controlnet_mcp.providers.vendor import HostedSettings

_SUCCESS = range(200, 300)
_BAD_REQUEST, _UNAUTHORIZED = 400, 401
_SUBMIT_TIMEOUT_SECONDS = 120.0
_WHOLE_UPLOAD_BYTES = 6_000_000
"""Below this a picture is uploaded in one call, from here on through an upload ticket."""
_LOOKS_AT_UPLOAD = 60
"""How often a large upload is looked at, without a pause, before it is given up."""
_MODEL_PAGES = 5
_UPLOAD_LIFETIME_SECONDS = 3600.0
"""Assets stay until they are deleted; an hour, because somebody may delete them."""

CAPABILITIES = Capabilities(
    modalities=MODALITIES,
    settings=frozenset(
        {
            "negative_prompt",
            "init_image",
            "mask_image",
            "strength",
            "model",
            "steps",
            "guidance",
            "scheduler",
            "seed",
        }
    ),
    sizes=SizeLimits(minimum=64, maximum=2048, multiple=8, preferred=1024),
    max_controls=3,
    picture_per_control=False,
    weights=True,
    control_range=False,
    upload_lifetime_seconds=_UPLOAD_LIFETIME_SECONDS,
    asset_ids=True,
    cancels=True,
    prices=True,
    deduplication="none",
    models=(
        ModelInfo("flux.1-dev", "flux-dev", "Flux dev: one modality, ready maps"),
        ModelInfo("flux.1-schnell", "flux-schnell", "Flux schnell: one modality, ready maps, fast"),
    ),
    schedulers=SCHEDULERS,
)


class ScenarioSettings(HostedSettings):
    """Variables of Scenario."""

    model_config = prefixed("scenario")

    api_key: SecretStr = Field(description="Scenario: API key")
    api_secret: SecretStr = Field(description="Scenario: API secret")
    base_url: str = Field(default="https://api.cloud.scenario.com/v1", description="Scenario: base URL")


class ScenarioProvider(Provider):
    """Speaks to Scenario."""

    name: str = NAME
    title = "Scenario"
    settings = ScenarioSettings
    capabilities: Capabilities = CAPABILITIES
    options: type[Frozen] = ScenarioOptions

    def __init__(self, settings: ScenarioSettings) -> None:
        """Take the key and where the service is."""
        key, secret = settings.api_key, settings.api_secret
        pair = f"{key.get_secret_value()}:{secret.get_secret_value()}".encode()
        self.base_url: str = settings.base_url.rstrip("/")
        basic = base64.b64encode(pair).decode("ascii")
        self._headers = {"authorization": SecretStr(f"Basic {basic}")}
        self.secrets = (secret, key, SecretStr(basic))

    def takes(self, modality: str, model: str | None, options: Mapping[str, JsonValue]) -> Takes:
        """Flux never detects a modality in a picture: there a ready map is wanted (1.2)."""
        declared = CAPABILITIES.modalities[modality].takes
        family = chosen_family(model, ScenarioOptions.model_validate(options))
        return "map" if declared == "either" and not RULES[family].detects else declared

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Check against the family of the model: modalities, presets, sizes, ranges."""
        return settle(request)

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:
        """Pictures that are too large to go inside the call."""
        return too_large(request)

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """Store a picture as an asset; gives its id. A large one goes as a ticket with a single part."""
        name = f"{picture.sha256[:16]}.{EXTENSIONS[picture.mime_type]}"
        if picture.size_bytes >= _WHOLE_UPLOAD_BYTES:
            return (yield from self._upload_large(picture, name))
        body: Body = {"name": name, "image": PictureData(picture, "base64")}
        reply = _passed((yield self._call("POST", "/assets", json=body)))
        return read_quietly(reply, AssetReply).asset.id

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The one call that is paid; the service has no place for a reference of ours."""
        options = ScenarioOptions.model_validate(request.options)
        return HttpCall(
            "POST",
            f"{self.base_url}/generate/{endpoint(request, options)}",
            headers=self._headers,
            query=query(options),
            json=body_of(request, options, uploaded),
            timeout_seconds=_SUBMIT_TIMEOUT_SECONDS,
            submits=True,
        )

    def read(self, reply: HttpReply) -> Submission:
        """The job that was made."""
        answer = _passed(reply).read(JobReply)
        return Submission(task=RemoteTask(remote_id=answer.job.job_id), report=report_of(answer))

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Look at the job."""
        reply = yield self._call("GET", f"/jobs/{quote(task.remote_id, safe='')}")
        return report_of(_passed(reply).read(JobReply))

    def locate(self, output: Output) -> Steps[str]:
        """Look at the asset again: its signed link lives for a time that is not published.

        Raises:
            ProviderError: `provider_failed`, worth another try while the asset is still being made.
        """
        path = f"/assets/{quote(output.asset_id or '', safe='')}"
        reply = _passed((yield self._call("GET", path, query={"originalAssets": "true"})))
        asset = read_quietly(reply, AssetReply).asset
        if asset.status in {"pending", "error"} or not asset.url:
            raise ProviderError(
                "provider_failed",
                f"Scenario has no picture for a finished job yet (asset status {asset.status}).",
                provider=NAME,
                hint="Ask for the job again later.",
                retryable=asset.status != "error",
            )
        return asset.url

    def cancel(self, task: RemoteTask) -> Steps[bool]:
        """Ask to stop the job; HTTP 400 means that this kind of job cannot be stopped."""
        path = f"/jobs/{quote(task.remote_id, safe='')}/action"
        reply = yield self._call("POST", path, json={"action": "cancel"})
        if reply.status == _BAD_REQUEST:
            return False
        return report_of(_passed(reply).read(JobReply)).phase not in {"succeeded", "failed"}

    def price(self, request: ResolvedRequest, uploaded: Uploaded) -> Steps[Cost | None]:
        """Ask with a dry run, which HTTP 269 answers; nothing is uploaded for it, so large pictures have no price."""
        if self.uploads(request):
            return None
        paid = self.build(request, "", uploaded)
        asking = {**paid.query, "dryRun": "true"}
        path = paid.url.removeprefix(self.base_url)
        reply = _passed((yield self._call("POST", path, query=asking, json=paid.json)))
        return Cost(amount=reply.read(PriceReply).creative_units_cost, unit=UNIT, estimated=True)

    def balance(self) -> Steps[float | None]:
        """The creative units that the team's plan has left, where the key may see them."""
        teams = _passed((yield self._call("GET", "/teams"))).read(TeamsReply).teams
        if not teams:
            return None
        reply = yield self._call("GET", f"/teams/{quote(teams[0].id, safe='')}/limits")
        if reply.status not in _SUCCESS:
            return None
        return reply.read(LimitsReply).left

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """The documented models, then the account's own and the public ones that list a ControlNet capability."""
        found = {row.name: row for row in self.capabilities.models}
        for privacy in ("private", "public"):
            asking = {"privacy": privacy, "pageSize": "500"}
            for _ in range(_MODEL_PAGES):
                page = read_quietly(_passed((yield self._call("GET", "/models", query=asking))), ModelPage)
                able = (row for row in page.models if any("controlnet" in name for name in row.capabilities or ()))
                for row in able:
                    family = family_of(row.type)
                    label = RULES[family].label if family else row.type
                    found.setdefault(row.id, ModelInfo(row.id, family or "", f"{row.name or row.id} ({label})"))
                if page.next_pagination_token is None:
                    break
                asking["paginationToken"] = page.next_pagination_token
        return tuple(found.values())

    def _upload_large(self, picture: StoredPicture, name: str) -> Steps[str]:
        """A ticket, one part (a call carries a whole picture or nothing), and looks until it is imported."""
        ticket: Body = {
            "fileName": name,
            "contentType": picture.mime_type,
            "fileSize": picture.size_bytes,
            "kind": "image",
            "parts": 1,
        }
        upload = read_quietly(_passed((yield self._call("POST", "/uploads", json=ticket))), UploadReply).upload
        address = self._trusted(upload)
        _passed((yield HttpCall("PUT", address, content=PictureData(picture, "bytes"), timeout_seconds=300.0)))
        path = f"/uploads/{quote(upload.id, safe='')}"
        reply = yield self._call("POST", f"{path}/action", json={"action": "complete"})
        for _ in range(_LOOKS_AT_UPLOAD):
            upload = read_quietly(_passed(reply), UploadReply).upload
            if upload.status == "imported" and upload.entity_id:
                return upload.entity_id
            if upload.status == "failed":
                raise _not_taken(upload)
            reply = yield self._call("GET", path)
        raise ProviderError(
            "timed_out",
            "Scenario is still checking an uploaded picture.",
            provider=NAME,
            hint="Nothing was bought. Try again, or pass a picture of less than 6 MB.",
            retryable=True,
        )

    def _call(self, method: str, path: str, *, query: dict[str, str] | None = None, json: Body = None) -> HttpCall:
        return HttpCall(method, f"{self.base_url}{path}", headers=self._headers, query=query or {}, json=json)

    def _trusted(self, upload: Upload) -> str:
        """Where the part goes: over TLS or to the service's own origin, and never with the key."""
        address = upload.parts[0].url if upload.parts else ""
        target, own = urlsplit(address), urlsplit(self.base_url)
        if target.scheme == "https" or (target.scheme, target.netloc) == (own.scheme, own.netloc):
            return address
        raise ProviderError(
            "provider_failed",
            "Scenario gave no usable address for an upload.",
            provider=NAME,
            hint="Try again later, or pass a picture of less than 6 MB.",
            retryable=True,
        )


def _passed(reply: HttpReply) -> HttpReply:
    if reply.status not in _SUCCESS:
        raise refusal(reply)
    return reply


def _not_taken(upload: Upload) -> ProviderError:
    return ProviderError(
        "image_unreadable",
        "Scenario did not take an uploaded picture.",
        provider=NAME,
        hint="Save it again as PNG or JPEG, with fewer pixels, and pass that.",
        provider_message=upload.error_message or "",
    )
