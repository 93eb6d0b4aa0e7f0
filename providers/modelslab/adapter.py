"""The adapter of ModelsLab (formerly stablediffusionapi.com): one POST that answers at once or with an id to ask for.

Facts: the vendor's page `Controlnet` of the enterprise plan (S), its later enterprise page (E), the schema of the
community endpoint (V5), and its published clients. Conflicts between them are named where they are decided.
"""

import urllib.parse
from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field, JsonValue, SecretStr

from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Provider, Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError, quote
from controlnet_mcp.providers.http import MAX_PICTURES_BYTES, Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.modelslab.catalogue import CAPABILITIES, DEFAULT_MODEL, native_name
from controlnet_mcp.providers.modelslab.errors import fault, refusal
from controlnet_mcp.providers.modelslab.limits import Plan, carried, public
from controlnet_mcp.providers.modelslab.options import DEFAULT_SCHEDULER, ModelsLabOptions
from controlnet_mcp.providers.modelslab.replies import Answer, Wallet, accepted
from controlnet_mcp.providers.modelslab.settling import settle
from controlnet_mcp.providers.types import FittedRequest, ModelInfo, RemoteTask, Report, ResolvedRequest, Submission
from controlnet_mcp.providers.vendor import HostedSettings

__all__ = ("CAPABILITIES", "ModelsLabProvider")

_SUBMIT_TIMEOUT_SECONDS = 300.0
"""The submission may answer with the finished picture."""
_DEFAULT_STEPS = 31
"""Allowed by every source (S: 1 to 50; E and V5: 21 or 31)."""
_DEFAULT_GUIDANCE = 7.5
_START_STRENGTH = 0.55
"""With a start picture: the page's example and V5's default (E: 0.7)."""
_PLAIN_STRENGTH = 1.0
"""Without one: nothing but the structure is kept (S: 1.0 destroys what is in init_image; V5's SDXL examples send 1)."""
_STILL_ASKED = frozenset({"rate_limited", "unauthorized", "payment_required"})
"""Errors of a fetch that are about the question, not about the job."""


class ModelsLabSettings(HostedSettings):
    """Variables of ModelsLab."""

    model_config = prefixed("modelslab")

    api_key: SecretStr = Field(description="ModelsLab: API key")
    base_url: str = Field(default="https://modelslab.com/api", description="ModelsLab: base URL")
    plan: Plan = Field(default="enterprise", description="ModelsLab: plan")
    enterprise_prefix: str = Field(default="/v1/enterprise", description="ModelsLab: path of the enterprise calls")


class ModelsLabProvider(Provider):
    """Speaks to ModelsLab, on either plan; the key travels inside the JSON body."""

    name = "modelslab"
    title = "ModelsLab"
    settings = ModelsLabSettings
    capabilities = CAPABILITIES
    options = ModelsLabOptions

    def __init__(self, settings: ModelsLabSettings) -> None:
        """Take the key, the plan and the layout of the enterprise paths."""
        self.base_url = settings.base_url.rstrip("/")
        self._key = settings.api_key
        self.secrets = settings.secrets
        self._plan: Plan = settings.plan
        self._prefix = f"/{settings.enterprise_prefix.strip('/')}"

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Choose model and scheduler, and fit numbers into the vendor's ranges."""
        return settle(request, self._plan)

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:
        """Pictures without a public link, unless they travel inside the request."""
        if ModelsLabOptions.model_validate(request.options).base64:
            return ()
        return tuple(dict.fromkeys(picture for picture, url in carried(request) if url is None))

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """`base64_to_url`: the link that comes back lives 24 hours."""
        body: dict[str, Body] = {"base64_string": PictureData(picture, "data_url")}
        answer = self._answer((yield self._call("/v6/base64_to_url", body)))
        if answer.status != "success" or not answer.output:
            raise self._unexpected(answer)
        return answer.output[0]

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:
        """Numbers go as numbers: E and V5 say integer where the page's example writes them as text."""
        options = ModelsLabOptions.model_validate(request.options)
        body: dict[str, Body] = {
            **_control(request, options),
            **_pictures(request, uploaded, inline=options.base64),
            **_numbers(request),
            **_switches(options),
            **_present(options),
            "webhook": options.webhook,
            "track_id": reference,
        }
        path = "/v5/controlnet" if self._plan == "community" else f"{self._prefix}/controlnet"
        return replace(self._call(path, body, submits=True), max_reply_bytes=MAX_PICTURES_BYTES)

    def read(self, reply: HttpReply) -> Submission:
        """A picture at once, or an id and what to ask it with; an error that names an id is a job that failed."""
        reply, answer = self._heard(reply)
        if answer.failed and answer.id is None:
            raise refusal(reply)
        if answer.id is None and not (answer.status == "success" and answer.output):
            raise self._unexpected(answer)
        state: dict[str, str] = {}
        # Our key goes to that link, so it counts only as a link of the very origin that the operator configured.
        if answer.fetch_result and answer.fetch_result.startswith(f"{self._origin}/"):
            state["fetch_result"] = answer.fetch_result
        if answer.future_links:
            state["future_links"] = "\n".join(answer.future_links)
        task = RemoteTask(remote_id=answer.id or "", state=state)
        return Submission(task=task, report=self._report(reply, answer, task))

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask by the link of the reply where it can be trusted, else by the plan's own."""
        asked = replace(self._fetch(task), max_reply_bytes=MAX_PICTURES_BYTES)
        reply, answer = self._heard((yield asked))
        if answer.failed and ((error := refusal(reply)).retryable or error.code in _STILL_ASKED):
            raise error
        return self._report(reply, answer, task)

    def balance(self) -> Steps[float | None]:
        """What is left in the wallet, in the account's currency."""
        reply = yield self._call("/wallet_balance", {})
        self._answer(reply)
        return reply.read(Wallet).data.balance

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """On the enterprise plan what the server has loaded; the shape of that reply is not documented."""
        documented = self.capabilities.models
        if self._plan == "community":
            return documented
        reply = self._clean((yield self._call(f"{self._prefix}/get_all_models", {})))
        listed = reply.json() if accepted(reply) else None
        if listed is None or (isinstance(listed, dict) and listed.get("status") == "error"):
            raise refusal(reply)
        known = {model.name: model for model in documented}
        found = tuple(known.get(name, ModelInfo(name)) for name in dict.fromkeys(_model_ids(listed)))
        return found or documented

    @property
    def _origin(self) -> str:
        scheme, _, rest = self.base_url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    def _call(self, path: str, body: Mapping[str, Body], *, submits: bool = False) -> HttpCall:
        url = path if "://" in path else f"{self.base_url}{path}"
        timeout = _SUBMIT_TIMEOUT_SECONDS if submits else 60.0
        return HttpCall("POST", url, json={"key": self._key, **body}, timeout_seconds=timeout, submits=submits)

    def _fetch(self, task: RemoteTask) -> HttpCall:
        """The SDKs' layout `.../images` and the community plan name the id in the path, the page in the body."""
        link, name = task.state.get("fetch_result"), urllib.parse.quote(task.remote_id, safe="")
        if link is not None:
            return self._call(link, {} if link.rstrip("/").endswith(f"/{name}") else _asked(task))
        if self._plan == "community":
            return self._call(f"/v6/images/fetch/{name}", {})
        if self._prefix.endswith("/images"):
            return self._call(f"{self._prefix}/fetch/{name}", {})
        return self._call(f"{self._prefix}/fetch", _asked(task))

    def _clean(self, reply: HttpReply) -> HttpReply:
        """The key is in the body that is answered: whatever echoes it must not reach a message."""
        secret = self._key.get_secret_value().encode()
        return replace(reply, body=reply.body.replace(secret, b"(secret)")) if secret else reply

    def _heard(self, reply: HttpReply) -> tuple[HttpReply, Answer]:
        """A reply that HTTP calls good, without the key, and what it says."""
        reply = self._clean(reply)
        if not accepted(reply):
            raise refusal(reply)
        return reply, reply.read(Answer)

    def _answer(self, reply: HttpReply) -> Answer:
        """An answer that is no error; one of those may come inside HTTP 200."""
        reply, answer = self._heard(reply)
        if answer.failed:
            raise refusal(reply)
        return answer

    def _report(self, reply: HttpReply, answer: Answer, task: RemoteTask) -> Report:
        """`success` without a link is asked again: the vendor's links can come later than its status."""
        if answer.failed:
            return Report(phase="failed", fault=fault(refusal(reply)))
        outputs = answer.outputs(tuple(task.state.get("future_links", "").split()))
        if answer.status == "success" and outputs:
            return Report(phase="succeeded", seed=answer.meta, outputs=outputs)
        if answer.status not in {"success", "processing"}:
            raise self._unexpected(answer)
        eta = answer.eta if answer.eta is not None and answer.eta >= 0 else None
        return Report(phase="running", stage=quote(answer.said, 80) or None, eta_seconds=eta)

    def _unexpected(self, answer: Answer) -> ProviderError:
        said = f"status {quote(answer.status, 30)}, {len(answer.output)} links. {answer.said}"
        told = "modelslab answered with something that was not expected."
        return ProviderError(
            "provider_failed", told, provider=self.name, retryable=True, delivery="unknown", provider_message=said
        )


def _asked(task: RemoteTask) -> dict[str, Body]:
    return {"request_id": task.remote_id}


def _yes(*, on: bool) -> str:
    return "yes" if on else "no"


def _control(request: ResolvedRequest, options: ModelsLabOptions) -> dict[str, Body]:
    """Several models are a comma list, in order; the documented example then names the first one's type alone."""
    names = [native_name(control.modality, request.model) for control in request.controls]
    first = request.controls[0]
    return {
        "controlnet_model": options.controlnet_model or ",".join(names),
        "controlnet_type": options.controlnet_type or (options.controlnet_model or names[0]).partition(",")[0],
        "model_id": request.model or DEFAULT_MODEL,
        "auto_hint": _yes(on=not first.is_map),  # E: default no, V5: default yes
        "controlnet_conditioning_scale": first.weight,
    }


def _pictures(request: ResolvedRequest, uploaded: Uploaded, *, inline: bool) -> dict[str, Body]:
    """The page: `init_image` is required, also as what the control is made of; `control_image` is the control's own.

    Without a start picture the control picture therefore goes as both.
    """

    def carry(picture: StoredPicture | None, url: str | None) -> Body:
        if picture is not None and inline:
            return PictureData(picture, "base64")
        return public(url) or (uploaded[picture.sha256] if picture is not None else None)

    control = carry(request.controls[0].picture, request.controls[0].source_url)
    start = carry(request.init_image, request.init_url) or control
    return {"init_image": start, "control_image": control, "mask_image": carry(request.mask_image, request.mask_url)}


def _numbers(request: ResolvedRequest) -> dict[str, Body]:
    plain = _PLAIN_STRENGTH if request.init_image is None else _START_STRENGTH
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "width": request.width,
        "height": request.height,
        "samples": request.num_images,
        "scheduler": request.scheduler or DEFAULT_SCHEDULER,
        "num_inference_steps": request.steps or _DEFAULT_STEPS,
        "guidance_scale": _DEFAULT_GUIDANCE if request.guidance is None else request.guidance,
        "strength": plain if request.strength is None else request.strength,
        "seed": request.seed,
    }


def _switches(options: ModelsLabOptions) -> dict[str, Body]:
    """Always sent: their defaults differ between the vendor's pages, or are on."""
    names = ("guess_mode", "safety_checker", "enhance_prompt", "multi_lingual", "tomesd", "use_karras_sigmas")
    chosen = options.model_dump(include={*names, "upscale", "base64", "temp"})
    return {**{name: _yes(on=on) for name, on in chosen.items()}, "algorithm_type": options.algorithm_type}


def _present(options: ModelsLabOptions) -> dict[str, Body]:
    names = {"vae", "lora_model", "lora_strength", "embeddings_model", "clip_skip"}
    adapter = {"ip_adapter_id", "ip_adapter_scale", "ip_adapter_image"}
    return options.model_dump(include=names | adapter, exclude_none=True)


def _model_ids(value: JsonValue) -> list[str]:
    """Every `model_id` in a reply, or the strings of a plain list."""
    if isinstance(value, list):
        return [name for row in value for name in ([row] if isinstance(row, str) else _model_ids(row))]
    if not isinstance(value, dict):
        return []
    own = value.get("model_id")
    return [own] if isinstance(own, str) else [name for row in value.values() for name in _model_ids(row)]
