"""ModelsLab: every status and every documented error of its replies, in both spellings."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pytest
from pydantic import SecretStr

from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpCall, HttpReply
from controlnet_mcp.providers.modelslab.adapter import ModelsLabProvider, ModelsLabSettings
from controlnet_mcp.providers.placeholders import show
from controlnet_mcp.providers.types import RemoteTask, Report
from tests.support.conversations import FOLDER, held, recorded
from tests.support.sample_drawings import house

sample = partial(recorded, "modelslab")
KEY = "canary-key-of-modelslab"
FIRST, SECOND = (f"https://pub-3626.r2.dev/generations/f3c1-{index}.png" for index in range(2))
PICTURE = StoredPicture(sha256="ab" * 32, mime_type="image/png", width=4, height=4, size_bytes=99)


def answer(body: object, status: int = 200) -> HttpReply:
    """A reply that a test writes itself."""
    return HttpReply("modelslab", status, {}, json.dumps(body).encode())


def provider(plan: str = "enterprise", **more: str) -> ModelsLabProvider:
    """The adapter with a key that must never be seen."""
    values = {"api_key": SecretStr(KEY), "plan": plan, **more}
    return ModelsLabProvider(ModelsLabSettings.model_validate(values))


def polled(reply: HttpReply, state: Mapping[str, str] | None = None) -> Report:
    """What a fetch that was answered with `reply` tells."""
    task = RemoteTask(remote_id="12345", state=dict(state or {}))
    return held(provider().poll(task), reply)[0]


def asked(task: RemoteTask, plan: str = "enterprise", prefix: str = "/v1/enterprise") -> HttpCall:
    """The call of a fetch."""
    return next(provider(plan, enterprise_prefix=prefix).poll(task))


@pytest.mark.parametrize(
    ("name", "urls", "flagged", "seed"),
    [
        ("success", [FIRST], [False], 254638125),
        ("success_texts", [FIRST, SECOND], [False, False], 254638125),
        ("flagged", [FIRST], [True], 3),
        ("proxy_links", [SECOND], [False], None),
    ],
)
def test_pictures_may_come_at_once(name: str, urls: list[str], flagged: list[bool], seed: int | None) -> None:
    """Ids are text or integers, numbers likewise; a flagged picture is told."""
    report = provider().read(sample(name)).report
    assert report.phase == "succeeded"
    assert [row.url for row in report.outputs] == urls
    assert [row.flagged for row in report.outputs] == flagged
    assert report.seed == seed


def test_each_picture_may_have_a_flag_of_its_own() -> None:
    """A list of flags, as the vendor's picture check has it."""
    body = {"status": "success", "id": 1, "output": [FIRST, SECOND], "nsfw_content_detected": [False, True]}
    assert [row.flagged for row in provider().read(answer(body)).report.outputs] == [False, True]


def test_pictures_in_base64_are_taken_as_they_are() -> None:
    """Plain or as a data URL."""
    picture = encode_png(house(16))
    encoded = base64.b64encode(picture).decode()
    body = {"status": "success", "id": 1, "output": [encoded, f"data:image/png;base64,{encoded}"]}
    outputs = provider().read(answer(body)).report.outputs
    assert [row.content for row in outputs] == [picture, picture]


def test_processing_tells_what_to_ask_with() -> None:
    """The id, a link of the configured host, the links to come, and the time that is left."""
    submission = provider().read(sample("processing"))
    assert submission.task.remote_id == "12345"
    assert submission.task.state["fetch_result"] == "https://modelslab.com/api/v6/images/fetch/12345"
    assert (submission.report.phase, submission.report.eta_seconds) == ("running", 10.0)
    assert submission.report.stage


def test_processing_may_be_in_texts() -> None:
    """An id of letters and a time as text."""
    submission = provider().read(sample("processing_texts"))
    assert (submission.task.remote_id, submission.report.eta_seconds) == ("abc123-def456", 15.0)


@pytest.mark.parametrize(
    "link",
    [
        "https://modelslab.com.evil.example/api/v6/images/fetch/12345",
        "https://modelslab.com@evil.example/fetch/12345",
        "https://modelslab.com:444/api/v6/images/fetch/12345",
        "http://modelslab.com/api/v6/images/fetch/12345",
        "https://cdn.modelslab.com/fetch/12345",
    ],
)
def test_the_key_never_goes_to_another_host(link: str) -> None:
    """A `fetch_result` elsewhere is left alone; the plan's own path is asked instead."""
    task = provider().read(answer({"status": "processing", "id": 12345, "fetch_result": link})).task
    assert asked(task).url == "https://modelslab.com/api/v1/enterprise/fetch"


@pytest.mark.parametrize(
    ("plan", "prefix", "url", "body"),
    [
        ("enterprise", "/v1/enterprise", "/v1/enterprise/fetch", {"request_id": "12345"}),
        ("enterprise", "/v1/enterprise/txt2img", "/v1/enterprise/txt2img/fetch", {"request_id": "12345"}),
        ("enterprise", "/v1/enterprise/images", "/v1/enterprise/images/fetch/12345", {}),
        ("community", "/v1/enterprise", "/v6/images/fetch/12345", {}),
    ],
)
def test_each_layout_is_asked_in_its_way(plan: str, prefix: str, url: str, body: dict[str, str]) -> None:
    """POST with the key inside; the id in the path or in the body."""
    call = asked(RemoteTask(remote_id="12345"), plan, prefix)
    assert (call.method, call.url) == ("POST", f"https://modelslab.com/api{url}")
    assert call.json == {"key": SecretStr(KEY), **body}
    assert not call.submits


def test_an_id_cannot_lead_to_another_path() -> None:
    """Ids are the vendor's words."""
    call = asked(RemoteTask(remote_id="../wallet?x"), "community")
    assert call.url == "https://modelslab.com/api/v6/images/fetch/..%2Fwallet%3Fx"


def test_a_link_of_the_reply_is_asked_where_it_can_be_trusted() -> None:
    """It ends with the id, so the id is not repeated in the body."""
    call = asked(provider().read(sample("processing")).task)
    assert call.url == "https://modelslab.com/api/v6/images/fetch/12345"
    assert call.json == {"key": SecretStr(KEY)}


def test_a_fetch_tells_where_the_job_stands() -> None:
    """Running with an empty output, then done."""
    assert polled(sample("running")).phase == "running"
    assert polled(sample("success")).phase == "succeeded"


def test_success_without_a_link_takes_the_promised_ones() -> None:
    """Future links are valid once the job is done; without any the job is asked again."""
    done = answer({"status": "success", "id": 12345, "output": []})
    assert [row.url for row in polled(done, {"future_links": f"{FIRST}\n{SECOND}"}).outputs] == [FIRST, SECOND]
    assert polled(done).phase == "running"


def test_a_failed_job_ends_with_the_vendors_reason() -> None:
    """The webhook's word `failed`, also inside a fetch, and also in the answer to the submission."""
    report = polled(sample("webhook_failed"))
    assert report.phase == "failed"
    assert report.fault is not None
    assert "Invalid input dimensions" in report.fault.message
    assert provider().read(sample("webhook_failed")).report.phase == "failed"


@pytest.mark.parametrize("name", ["error_401", "error_402", "error_429", "error_500", "error_503"])
@pytest.mark.parametrize("inside_200", [False, True])
def test_trouble_while_asking_does_not_end_a_job(name: str, *, inside_200: bool) -> None:
    """An error about the question is raised, so that the job is asked again until its deadline."""
    reply = sample(name)
    status = 200 if inside_200 else reply.status
    with pytest.raises(ProviderError):
        polled(HttpReply("modelslab", status, {}, reply.body))


def test_a_job_that_is_not_known_yet_is_asked_for_again() -> None:
    """Right after the submission the vendor may not find it; a model that it does not find ends the job."""
    with pytest.raises(ProviderError):
        polled(answer({"status": "error", "message": "Request not found"}))
    assert polled(answer({"status": "error", "message": "Model not found: x"})).phase == "failed"


ERRORS = [
    ("error_400", "invalid_request", "refused", False),
    ("error_401", "unauthorized", "refused", False),
    ("error_402", "payment_required", "refused", False),
    ("error_403", "unauthorized", "refused", False),
    ("error_429", "rate_limited", "refused", True),
    ("error_500", "provider_failed", "unknown", True),
    ("error_503", "provider_failed", "unknown", True),
    ("error_model", "not_found", "refused", False),
    ("error_picture", "image_unreadable", "refused", False),
    ("error_messege", "invalid_request", "refused", False),
    ("error_fields", "invalid_request", "refused", False),
]


@pytest.mark.parametrize(("name", "code", "delivery", "retryable"), ERRORS)
@pytest.mark.parametrize("spelling", ["message", "messege"])
@pytest.mark.parametrize("inside_200", [False, True])
def test_every_documented_error_has_its_code(
    name: str, code: str, delivery: str, spelling: str, *, retryable: bool, inside_200: bool
) -> None:
    """By HTTP status or by its words inside HTTP 200, in either spelling, with a way out.

    A bare HTTP 503 may be a proxy's, so it proves nothing; inside HTTP 200 the vendor itself says that it is busy.
    """
    reply = sample(name)
    delivery = "refused" if inside_200 and name == "error_503" else delivery
    body = reply.body.replace(b'"message"', f'"{spelling}"'.encode())
    status = 200 if inside_200 else reply.status
    with pytest.raises(ProviderError) as caught:
        provider().read(HttpReply("modelslab", status, reply.headers, body))
    error = caught.value
    assert (error.code, error.delivery, error.retryable) == (code, delivery, retryable)
    assert error.hint
    assert error.provider_message


@pytest.mark.parametrize(("header", "told"), [({"retry-after": "5"}, {}), ({}, {"retry_after": 5})])
def test_a_503_that_says_when_to_come_back_is_a_refusal(header: dict[str, str], told: dict[str, int]) -> None:
    """In its header or in its body: the submission may be sent again."""
    body = json.dumps({"status": "error", "message": "Busy.", **told}).encode()
    with pytest.raises(ProviderError) as caught:
        provider().read(HttpReply("modelslab", 503, header, body))
    assert (caught.value.delivery, caught.value.retry_after_seconds) == ("refused", 5.0)


def test_no_documented_error_is_untested() -> None:
    """Every sample of an error stands in the table above."""
    assert {path.stem for path in (FOLDER / "modelslab").glob("error_*.json")} == {name for name, *_ in ERRORS}


def test_when_to_come_back_is_in_the_body() -> None:
    """A number or text; the header counts where the body says nothing."""
    for body, headers, expected in (
        ({"status": "error", "message": "Rate limit exceeded.", "retry_after": 30}, {}, 30.0),
        ({"status": "error", "message": "Rate limit exceeded.", "retry_after": "12.5"}, {"retry-after": "9"}, 12.5),
        ({"status": "error", "message": "Rate limit exceeded."}, {"retry-after": "9"}, 9.0),
    ):
        with pytest.raises(ProviderError) as caught:
            provider().read(HttpReply("modelslab", 429, headers, json.dumps(body).encode()))
        assert caught.value.retry_after_seconds == expected


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("NSFW content detected in prompt", "moderated"),
        ("Your plan does not allow this", "unauthorized"),
        ("Something nobody documented", "provider_failed"),
        ("CUDA out of memory", "provider_failed"),
    ],
)
def test_other_words_inside_http_200_are_understood(words: str, code: str) -> None:
    """An error that the vendor states is a refusal, whatever it is called."""
    with pytest.raises(ProviderError) as caught:
        provider().read(answer({"status": "error", "messege": words}))
    assert (caught.value.code, caught.value.delivery) == (code, "refused")


@pytest.mark.parametrize(
    "reply",
    [
        HttpReply("modelslab", 200, {}, b"<html>maintenance</html>"),
        HttpReply("modelslab", 502, {}, b"<html>bad gateway</html>"),
        answer({"id": 1}),
        answer({"status": "processing"}),
        answer({"status": "on its way", "id": 1}),
    ],
)
def test_nonsense_may_have_been_accepted(reply: HttpReply) -> None:
    """What cannot be understood proves nothing, and is worth another look."""
    with pytest.raises(ProviderError) as caught:
        provider().read(reply)
    assert (caught.value.code, caught.value.delivery, caught.value.retryable) == ("provider_failed", "unknown", True)


def test_a_key_that_is_echoed_is_not_repeated() -> None:
    """The key is in the body of the request, and some services quote what they got; the connection cuts it out."""
    adapter = provider()
    for reply in (
        answer({"status": "error", "message": f"Invalid API key {KEY}"}, 401),
        answer({"status": "error", "messege": f"the key {KEY} is invalid"}),
        HttpReply("modelslab", 200, {}, f"<pre>{KEY}</pre>".encode()),
    ):
        with pytest.raises(ProviderError) as caught:
            adapter.read(replace(reply, body=Redactor(adapter.secrets).body(reply.body)))
        assert KEY not in f"{caught.value} {caught.value.provider_message} {caught.value!r}"


def test_an_upload_gives_its_link() -> None:
    """A data URL in, a link out; `messege` beside a success is no error."""
    link, calls = held(provider().upload(PICTURE), sample("uploaded"))
    assert calls[0].url == "https://modelslab.com/api/v6/base64_to_url"
    assert "data_url of image/png" in json.dumps(show(calls[0].json))
    assert link == "https://pub-3626.r2.dev/livewire-tmp/a.png"


def test_a_refused_upload_is_told() -> None:
    """With the error of any other call."""
    with pytest.raises(ProviderError) as caught:
        held(provider().upload(PICTURE), sample("error_402"))
    assert caught.value.code == "payment_required"


def test_the_balance_is_told() -> None:
    """In the account's currency; it may come as text."""
    balance, calls = held(provider().balance(), sample("wallet"))
    assert (calls[0].method, calls[0].url, balance) == ("POST", "https://modelslab.com/api/wallet_balance", 43.6)
    assert held(provider().balance(), answer({"status": "success", "data": {"balance": "1.5"}}))[0] == 1.5


def test_the_models_of_an_enterprise_server_are_listed() -> None:
    """By whatever holds a `model_id`; a shape that nobody knows gives the documented ones."""
    adapter = provider()
    assert [row.name for row in held(adapter.models(), sample("model_list"))[0]] == ["my-own-model", "midjourney"]
    assert [row.name for row in held(adapter.models(), answer(["a", "b"]))[0]] == ["a", "b"]
    assert held(adapter.models(), answer({"status": "success"}))[0] == adapter.capabilities.models
    with pytest.raises(ProviderError):
        held(adapter.models(), sample("error_messege"))


def test_the_models_of_the_community_plan_are_the_documented_ones() -> None:
    """Without a call."""
    assert held(provider("community").models()) == (provider().capabilities.models, [])
