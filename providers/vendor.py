"""The vendor kit: what adapters of hosted services share, so that a service is its facts and little else.

Tables and types are in `model_spec` (models and ranges), `refusals` (what errors mean) and `wire` (tolerant replies).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias, TypeVar
from urllib.parse import quote as percent_encoded
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, JsonValue, SecretStr, field_validator

from controlnet_mcp.foundation.text import checked_url
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Provider, ProviderSettings, Uploaded
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import (
    MAX_JSON_BYTES,
    MAX_PICTURES_BYTES,
    Body,
    HttpCall,
    HttpReply,
    PictureData,
    PictureForm,
    Steps,
    holds,
)
from controlnet_mcp.providers.model_spec import Fitting, ModelSpec, choose_model, fit
from controlnet_mcp.providers.refusals import Meaning, refusal
from controlnet_mcp.providers.types import FittedRequest, Frozen, Phase, RemoteTask, Report, ResolvedRequest, Takes
from controlnet_mcp.providers.wire import text_of

ReplyT = TypeVar("ReplyT", bound=BaseModel)
SUCCESS = range(200, 300)
_GONE = frozenset({404, 410})
_NO_SUCH_PATH = frozenset({404, 405})
"""A path that is not there may look like another one that only knows another method."""
_KEY_REFUSED = frozenset({401, 403})
_CANNOT_BE_STOPPED = frozenset({400, 404, 409})
ASK_TIMEOUT_SECONDS, SUBMIT_TIMEOUT_SECONDS, UPLOAD_TIMEOUT_SECONDS = 30.0, 60.0, 120.0


class HostedSettings(ProviderSettings):
    """Settings of a hosted service."""

    base_url: str

    check_urls = field_validator("base_url", "upload_url", check_fields=False)(checked_url)


Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""An option from 0 to 1."""


class Lora(Frozen):
    """One LoRA that is applied on top of the model."""

    path: str = Field(min_length=1, max_length=500, description="owner/name on Hugging Face, or a link to the file")
    scale: float = Field(default=1.0, ge=0, le=4, description="How much of it, 0 to 4")


class LoraOptions(Frozen):
    """`provider_options` of a service that applies LoRAs."""

    loras: tuple[Lora, ...] = Field(default=(), max_length=3, description="Up to 3 LoRAs: path, scale 0 to 4 (1)")


class QueueProvider(Provider):
    """A hosted service that takes a submission and is then asked how it stands."""

    specs: tuple[ModelSpec, ...] = ()
    refusals: tuple[Meaning, ...] = ()
    sentences: tuple[str, ...] = ("message", "error_description", "error", "detail", "msg", "reason")
    """Fields of a refusal that may hold its sentence; the first that says something counts."""
    phases: Mapping[str, Phase]
    """The service's words, in lower case; any other counts as running: only the deadline ends a job that is paid."""
    keeps_jobs: str = ""
    """For how long it can be asked about a job, as words in a sentence."""

    def __init__(self, settings: HostedSettings, headers: Mapping[str, str | SecretStr] | None = None) -> None:
        """Take the address, and the header fields that every call of ours carries."""
        self.base_url = settings.base_url.rstrip("/")
        self.secrets = settings.secrets
        self.headers: Mapping[str, str | SecretStr] = headers or {}

    # What is asked for

    def model_for(self, model: str | None, modalities: Sequence[str], options: Mapping[str, JsonValue]) -> ModelSpec:  # noqa: ARG002  # for overriding
        """The model of a request.

        Raises:
            RequestError: `unsupported` or `invalid_request`, when there is none.
        """
        return choose_model(model, modalities, self.specs, self.title, self.unlisted)

    def unlisted(self, name: str, modality: str) -> ModelSpec | None:  # noqa: ARG002  # for overriding
        """The model of a name that is in no list."""
        return None

    def spec_of(self, request: ResolvedRequest) -> ModelSpec:
        """The model of a request."""
        return self.model_for(request.model, [control.modality for control in request.controls], request.options)

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Choose the model and keep every setting inside what it takes."""
        if not self.specs:
            return super().fit(request)
        spec = self.spec_of(request)
        work = fit(request, spec, self.specs, self.capabilities, self.title)
        self.adjust(work, spec)
        return FittedRequest(request=work.request, warnings=tuple(work.warnings))

    def adjust(self, work: Fitting, spec: ModelSpec) -> None:
        """Change, say or refuse what only this service has to."""

    def takes(self, modality: str, model: str | None, options: Mapping[str, JsonValue]) -> Takes:
        """A ready map, where the service makes none for the model."""
        declared = self.capabilities.modalities[modality].takes
        if declared != "either" or not self.specs:
            return declared
        return declared if self.model_for(model, [modality], options).detects else "map"

    # How it is asked

    def call(  # noqa: PLR0913  # what calls differ in; keyword-only
        self,
        method: str,
        path: str,
        json: Body = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        pictures: bool = False,
        submits: bool = False,
    ) -> HttpCall:
        """A call to a path below the address, or to an address of the operator's; `pictures` may be in its reply.

        A submission is waited for longer than a question, and an upload longer still, if nothing is said.
        """
        asking_seconds = UPLOAD_TIMEOUT_SECONDS if holds(json, PictureData) else ASK_TIMEOUT_SECONDS
        usual_seconds = SUBMIT_TIMEOUT_SECONDS if submits else asking_seconds
        return HttpCall(
            method,
            path if "://" in path else f"{self.base_url}{path}",
            self.headers,
            query=query or {},
            json=json,
            timeout_seconds=usual_seconds if timeout_seconds is None else timeout_seconds,
            submits=submits,
            max_reply_bytes=MAX_PICTURES_BYTES if pictures else MAX_JSON_BYTES,
        )

    def ask(self, call: HttpCall, model: type[ReplyT]) -> Steps[ReplyT]:
        """Hold a conversation of one call."""
        return self.checked((yield call), model)

    def first_found(self, calls: Sequence[HttpCall], model: type[ReplyT]) -> Steps[ReplyT | None]:
        """Ask until a path exists; `None` when none does."""
        for call in calls:
            reply = yield call
            if reply.status not in _NO_SUCH_PATH:
                return self.checked(reply, model)
        return None

    # What it answers

    def accepts(self, reply: HttpReply) -> bool:
        """Tell whether an answer is no refusal."""
        return reply.status in SUCCESS

    def checked(self, reply: HttpReply, model: type[ReplyT]) -> ReplyT:
        """The answer, when it is no refusal.

        Raises:
            ProviderError: It is one, or nonsense.
        """
        if not self.accepts(reply):
            raise self.refused(reply)
        return reply.read(model)

    def said(self, reply: HttpReply) -> str:
        """The vendor's sentence in a refusal; a page of HTML says nothing."""
        try:
            body = reply.json()
        except ProviderError:
            return "" if reply.text.lstrip().startswith("<") else reply.text
        found = (text_of(body.get(name)) for name in self.sentences) if isinstance(body, dict) else (text_of(body),)
        return next(filter(None, found), "")

    def refused(self, reply: HttpReply) -> ProviderError:
        """The error of a reply that is no success."""
        return self.explained(reply, self.refusals)

    def explained(
        self,
        reply: HttpReply,
        table: Sequence[Meaning],
        codes: Sequence[int | None] = (),
        wait_seconds: float | None = None,
    ) -> ProviderError:
        """The error of a refusal by a table, in which codes are looked up in the place of its HTTP status."""
        said = self.said(reply)
        return refusal(reply, title=self.title, table=table, said=said, codes=codes, wait_seconds=wait_seconds)

    def unexpected(self, reply: HttpReply) -> ProviderError:
        """The error of a success that does not hold what was asked for: a submission may have been accepted."""
        return ProviderError(
            "provider_failed",
            f"{self.title} answered HTTP {reply.status} without what was asked for.",
            provider=self.name,
            hint=f"Look in the history on {self.title}'s own pages whether a job was made, then try again.",
            retryable=True,
            delivery="unknown",
            provider_message=self.said(reply) or reply.text,
        )

    def is_trusted(self, url: str) -> bool:
        """Tell whether a link of a reply may be used: of the configured origin, or https and without a password."""
        parts, configured = urlsplit(url), urlsplit(self.base_url)
        if (parts.scheme, parts.netloc) == (configured.scheme, configured.netloc):
            return True
        return parts.scheme == "https" and bool(parts.hostname) and parts.username is None

    # How its jobs stand

    @abstractmethod
    def status_call(self, task: RemoteTask) -> HttpCall:
        """The question how a task stands."""

    def result_call(self, task: RemoteTask) -> HttpCall | None:  # noqa: ARG002  # for overriding
        """The question for the result, where the status does not hold it."""
        return None

    def cancel_call(self, task: RemoteTask) -> HttpCall | None:  # noqa: ARG002  # for overriding
        """The call that stops a task, where there is one."""
        return None

    @abstractmethod
    def understand(self, reply: HttpReply, task: RemoteTask) -> Report:
        """Read an answer about a task.

        Raises:
            ProviderError: It says nothing of the task.
        """

    def understand_result(self, reply: HttpReply, task: RemoteTask) -> Report:
        """Read the answer to `result_call`, where an error means something else than in a status."""
        return self.understand(reply, task)

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask how a task stands, and for its result once it is done.

        Raises:
            ProviderError: It says nothing of the task, or that it is done without a picture, which is not believed at
                once, because pictures were paid for and may come later.
        """
        reply = yield self.status_call(task)
        report = self.understand(self._found(reply), task)
        asked = self.result_call(task) if report.phase == "succeeded" and not report.outputs else None
        if asked is not None:
            reply = yield asked
            report = self.understand_result(self._found(reply), task)
        if report.phase == "succeeded" and not report.outputs:
            raise ProviderError(
                "provider_failed",
                f"{self.title} says that the job is done, and names no picture.",
                provider=self.name,
                hint=f"The history on {self.title}'s own pages may show the picture.",
                retryable=True,
                lasting=True,
            )
        return report

    def _found(self, reply: HttpReply) -> HttpReply:
        """The answer to a question about a task, unless the service does not know it, or no longer."""
        if reply.status not in _GONE:
            return reply
        kept = f"; it keeps jobs for {self.keeps_jobs}" if self.keeps_jobs else ""
        raise ProviderError(
            "not_found",
            f"{self.title} does not know this job{kept}.",
            provider=self.name,
            hint=f"The history on {self.title}'s own pages may still show it.",
            retryable=True,
            provider_message=self.said(reply),
        )

    def cancel(self, task: RemoteTask) -> Steps[bool]:
        """Ask to stop a task; `False` when it cannot be stopped any more, or never could."""
        call = self.cancel_call(task)
        if call is None:
            return False
        reply = yield call
        if reply.status in _CANNOT_BE_STOPPED:
            return False
        if not self.accepts(reply):
            raise self.refused(reply)
        return True

    def balance(self) -> Steps[float | None]:
        """Ask about a job that nobody made: no balance is told, but a refused key is."""
        reply = yield self.status_call(RemoteTask(remote_id="none"))
        if reply.status in _KEY_REFUSED:
            raise self.refused(reply)
        return None

    def phase_of(self, word: str) -> Phase:
        """The phase of a task, by the service's own word."""
        return self.phases.get(word.lower(), "running")


def https_link(url: str | None) -> str | None:
    """A link that may be passed to a service that fetches it itself; plain http is read by us only."""
    return url if url and url.startswith("https://") else None


def handed(picture: StoredPicture | None, url: str | None, uploaded: Uploaded, form: PictureForm = "data_url") -> Body:
    """A picture as it goes into a request: its own link, what its upload is called, or its data."""
    if https_link(url) or picture is None:
        return url
    return uploaded.get(picture.sha256) or PictureData(picture, form)


def part(text: str) -> str:
    """A text of a reply as one part of a path, whatever is in it."""
    return percent_encoded(text, safe="")


def bearer(key: SecretStr, scheme: str = "Bearer") -> SecretStr:
    """The value of an `Authorization` header."""
    return SecretStr(f"{scheme} {key.get_secret_value()}")
