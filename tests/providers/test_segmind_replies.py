"""Segmind, replies: both versions, every status of a job, every documented error, and no secret in any of them."""

import base64

import pytest
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.providers.errors import Delivery, ProviderError
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.types import Cost, Output, Phase, RemoteTask, Report
from tests.support.segmind_cases import JPEG, KEY, PICTURE, PNG, REQUEST_ID, adapter, converse, reply, sample, samples

ROOT = f"https://api.segmind.com/v2/requests/{REQUEST_ID}"
TASK = RemoteTask(remote_id=REQUEST_ID, state={"status_url": f"{ROOT}/status", "response_url": ROOT})
IMAGE = "https://images.segmind.com/generations/7f3a.jpeg"
SECOND = "https://images.segmind.com/generations/7f3b.jpeg"

ERRORS: dict[str, tuple[ErrorCode, Delivery, bool, str]] = {
    "error_400": ("invalid_request", "refused", False, "setting"),
    "error_401_missing": ("unauthorized", "refused", False, "x-api-key"),
    "error_401_invalid": ("unauthorized", "refused", False, "SEGMIND_API_KEY"),
    "error_401_variant": ("unauthorized", "refused", False, "SEGMIND_API_KEY"),
    "error_403": ("unauthorized", "refused", False, "list_models"),
    "error_404": ("not_found", "refused", False, "SEGMIND_API_VERSION=v1"),
    "error_405": ("provider_failed", "refused", False, "SEGMIND_BASE_URL"),
    "error_406_content_type": ("provider_failed", "refused", False, "proxies"),
    "error_406_credits": ("payment_required", "refused", False, "Top up"),
    "error_406_page": ("payment_required", "refused", False, "Top up"),
    "error_406_spend_limit": ("payment_required", "refused", False, "owner"),
    "error_406_value": ("invalid_request", "refused", False, "setting"),
    "error_410": ("unsupported", "refused", False, "list_models"),
    "error_429": ("rate_limited", "refused", True, "Wait"),
    "error_500": ("provider_failed", "unknown", True, "steps"),
    "error_502": ("provider_failed", "unknown", True, "later"),
    "v2_status_failed": ("provider_failed", "refused", True, "setting"),
    "v2_status_moderated": ("moderated", "refused", False, "prompt"),
}
"""Sample to code, delivery, whether a retry can help, and a word of the hint."""


def polled(*replies: HttpReply, task: RemoteTask = TASK) -> tuple[list[str], Report]:
    """Poll with these replies."""
    asked, report = converse(adapter().poll(task), *replies)
    assert isinstance(report, Report)
    return asked, report


@pytest.mark.parametrize("name", ERRORS)
def test_every_documented_error_has_its_meaning(name: str) -> None:
    """Code, delivery and advice fit, and the advice is never missing."""
    code, delivery, retryable, word = ERRORS[name]
    with pytest.raises(ProviderError) as caught:
        adapter().read(sample(name))
    error = caught.value
    assert (error.code, error.delivery, error.retryable) == (code, delivery, retryable)
    assert word in error.hint
    assert KEY not in f"{error} {error!r} {error.hint} {error.provider_message}"
    assert "<" not in str(error)


def test_every_error_sample_has_a_case() -> None:
    """A new sample of an error must say what it means."""
    assert {name for name in samples() if name.startswith("error_")} <= set(ERRORS)


def test_the_four_meanings_of_406_are_told_apart_by_their_messages() -> None:
    """Even when the words are mixed."""
    told = {
        "INVALID CONTENT TYPE, check your credits": "provider_failed",
        "Monthly spend cap of 50 credits hit": "payment_required",
        "not enough credits": "payment_required",
        "safety_tolerance must be at most 6": "invalid_request",
        "prompt violates the content policy": "moderated",
    }
    assert {text: adapter().refused(reply({"error": text}, 406)).code for text in told} == told


def test_a_rate_limit_says_when_to_come_back() -> None:
    """There is no Retry-After; the reset time is read against the reply's own clock."""
    assert adapter().refused(sample("error_429")).retry_after_seconds == 30


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("2026-11-20 10:01:05 UTC", 5),
        ("2026-11-20T10:00:00Z", 0),
        ("1795168890", 30),
        ("9" * 30, None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_reset_time_is_read_in_any_usual_form(reset: str, seconds: float | None) -> None:
    """Its form is not documented; nonsense and the past cost nothing."""
    for date in ("Fri, 20 Nov 2026 10:01:00 GMT", "Fri, 20 Nov 2026 10:01:00 -0000"):
        assert (
            adapter().refused(reply({}, 429, x_rate_limit_reset_at_utc=reset, date=date)).retry_after_seconds == seconds
        )
    assert adapter().refused(reply({}, 429, x_rate_limit_reset_at_utc=reset)).retry_after_seconds is None


def test_a_v2_receipt_holds_all_that_is_needed_to_ask_again() -> None:
    """The id and both addresses; the job is queued."""
    submission = adapter().read(sample("v2_submitted"))
    assert submission.task == TASK
    assert (submission.report.phase, submission.report.stage) == ("queued", "QUEUED")


def test_a_receipt_that_says_failed_bought_nothing() -> None:
    """Failed jobs are not charged, so it is a refusal."""
    with pytest.raises(ProviderError, match="image could not be read") as caught:
        adapter().read(reply({"request_id": "r", "status": "FAILED", "error": "image could not be read"}))
    assert caught.value.delivery == "refused"


@pytest.mark.parametrize("content", [JPEG, PNG], ids=["jpeg", "png"])
def test_a_v1_answer_is_the_picture_itself(content: bytes) -> None:
    """Recognised by its first bytes; seed, cost and credits are in the header."""
    answer = reply(content, x_remaining_credits="4.9", x_cost="0.017", x_seed_value="698845", x_request_id="r1")
    submission = adapter("v1").read(answer)
    assert submission.task.remote_id == "r1"
    assert submission.report == Report(
        phase="succeeded",
        outputs=(Output(content=content),),
        seed=698845,
        cost=Cost(amount=0.017, unit="credits"),
        credits_left=4.9,
    )


def test_a_v1_answer_without_accounts_is_a_picture_all_the_same() -> None:
    """Missing or odd header fields never cost a picture that was paid for."""
    report = adapter("v1").read(reply(JPEG, x_cost="free", x_seed_value="nan")).report
    assert (report.phase, report.cost, report.seed, report.credits_left) == ("succeeded", None, None, None)


@pytest.mark.parametrize("name", ["image", "images", "output"])
@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_a_v1_answer_may_be_base64_in_json(name: str, prefix: str) -> None:
    """Under any of the names that clients in the wild meet, one or several."""
    texts: list[JsonValue] = [prefix + base64.encodebytes(content).decode() for content in (JPEG, PNG)]
    one, several = (adapter("v1").read(reply({name: value, "x": 1})).report for value in (texts[0], texts))
    assert one.outputs == (Output(content=JPEG),)
    assert several.outputs == (Output(content=JPEG), Output(content=PNG))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>hello</html>", b"\x00\x01", b"[]", b"{}", b'{"image": "not base64!"}', b'{"output": "aGVsbG8="}'],
)
def test_an_answer_that_makes_no_sense_leaves_it_open_whether_it_was_accepted(body: bytes) -> None:
    """HTTP 200 is billed, so nothing may be sent again."""
    with pytest.raises(ProviderError) as caught:
        adapter().read(reply(body))
    assert (caught.value.code, caught.value.delivery) == ("provider_failed", "unknown")


def test_ids_may_be_numbers() -> None:
    """And odd addresses are ignored rather than losing the job."""
    submission = adapter().read(reply({"request_id": 17, "status_url": {"x": 1}, "metrics": None}))
    assert submission.task == RemoteTask(remote_id="17")
    assert polled(sample("v2_status_queued"), task=submission.task)[0] == [
        "GET https://api.segmind.com/v2/requests/17/status"
    ]


@pytest.mark.parametrize(
    ("name", "phase", "stage"),
    [("v2_status_queued", "queued", "QUEUED"), ("v2_status_processing", "running", "PROCESSING")],
)
def test_a_job_that_is_not_done_is_asked_once(name: str, phase: Phase, stage: str) -> None:
    """The light status is enough."""
    asked, report = polled(sample(name))
    assert asked == [f"GET {ROOT}/status"]
    assert report == Report(phase=phase, stage=stage)


@pytest.mark.parametrize("status", ["THINKING", "", 7, None])
def test_an_unknown_status_counts_as_running(status: str | int | None) -> None:
    """Only the deadline ends a job that was paid for."""
    assert polled(reply({"status": status}))[1].phase == "running"


@pytest.mark.parametrize(
    ("name", "urls", "amount", "left"),
    [
        ("v2_result", (IMAGE,), 0.017, 4.983),
        ("v2_result_list", (IMAGE, SECOND), 0.017, 4.983),
        ("v2_result_images", (IMAGE, SECOND), 0.034, 4.966),
    ],
)
def test_a_finished_job_gives_its_pictures_and_what_they_cost(
    name: str, urls: tuple[str, ...], amount: float, left: float
) -> None:
    """The status has no output, so the result is asked for as well; numbers may be text."""
    asked, report = polled(sample("v2_status_completed"), sample(name))
    assert asked == [f"GET {ROOT}/status", f"GET {ROOT}"]
    assert report.outputs == tuple(Output(url=url) for url in urls)
    assert (report.phase, report.cost, report.credits_left) == (
        "succeeded",
        Cost(amount=amount, unit="credits"),
        left,
    )


def test_a_result_that_is_not_there_yet_is_asked_for_again() -> None:
    """A job that is done without a picture, or no longer done, is not the end."""
    assert polled(sample("v2_status_completed"), sample("v2_status_processing"))[1].phase == "running"
    with pytest.raises(ProviderError, match="names no picture") as caught:
        polled(sample("v2_status_completed"), reply({"status": "COMPLETED", "output": None}))
    assert (caught.value.retryable, caught.value.lasting) == (True, True)


@pytest.mark.parametrize("status", [200, 422])
def test_a_failed_job_is_an_answer_and_not_an_error(status: int) -> None:
    """FAILED comes as HTTP 422, with the vendor's reason."""
    report = polled(HttpReply("segmind", status, {}, sample("v2_status_failed").body))[1]
    assert report.phase == "failed"
    assert report.fault is not None
    assert report.fault.code == "provider_failed"
    assert "Prompt is Mandatory and must be string" in report.fault.message
    assert report.fault.hint


def test_a_result_that_a_filter_refused_is_told_as_such() -> None:
    """So that nobody tries the same again."""
    fault = polled(sample("v2_status_moderated"))[1].fault
    assert fault is not None
    assert (fault.code, fault.retryable) == ("moderated", False)


def test_a_422_that_does_not_say_failed_is_no_end() -> None:
    """It is an error of the question, asked again later."""
    with pytest.raises(ProviderError):
        polled(reply({"error": "unprocessable"}, 422))


def test_a_forgotten_job_is_asked_for_again() -> None:
    """Records vanish after an hour; whether that has passed is not the adapter's to know, but that it lasts."""
    with pytest.raises(ProviderError, match="keeps jobs for about one hour") as caught:
        polled(sample("v2_expired"))
    assert (caught.value.code, caught.value.retryable, caught.value.lasting) == ("not_found", True, True)


@pytest.mark.parametrize(
    "address",
    [
        "https://api.segmind.com.evil.example/v2/x",
        "https://evil.example/v2/x",
        "http://api.segmind.com/v2/x",
        "https://api.segmind.com@evil.example/x",
        "",
    ],
)
def test_the_key_only_goes_to_the_configured_origin(address: str) -> None:
    """An address of a receipt that leads elsewhere is rebuilt from the id."""
    task = RemoteTask(remote_id=REQUEST_ID, state={"status_url": address, "response_url": address})
    asked, _ = polled(sample("v2_status_completed"), sample("v2_result"), task=task)
    assert asked == [f"GET {ROOT}/status", f"GET {ROOT}"]


def test_an_address_on_the_configured_origin_is_taken_as_it_is() -> None:
    """The vendor's own client does the same."""
    task = RemoteTask(remote_id="x", state={"status_url": "https://api.segmind.com/v3/jobs/x"})
    assert polled(sample("v2_status_queued"), task=task)[0] == ["GET https://api.segmind.com/v3/jobs/x"]


def test_an_id_cannot_lead_elsewhere() -> None:
    """It is data from a reply."""
    task = RemoteTask(remote_id="../../v1/get-user-credits?x=")
    asked, _ = polled(sample("v2_status_queued"), task=task)
    assert asked == ["GET https://api.segmind.com/v2/requests/..%2F..%2Fv1%2Fget-user-credits%3Fx%3D/status"]


def test_the_balance_is_bought_and_free_credits() -> None:
    """And unknown when the account has no record of credits."""
    asked, balance = converse(adapter().balance(), sample("credits"))
    assert asked == ["GET https://api.segmind.com/v1/get-user-credits"]
    assert balance == pytest.approx(0.0184921035)
    assert converse(adapter().balance(), sample("credits_none"))[1] is None
    assert converse(adapter().balance(), reply({"credits": "none"}))[1] is None
    with pytest.raises(ProviderError, match="the key was refused"):
        converse(adapter().balance(), sample("error_401_invalid"))


def test_an_upload_gives_a_link() -> None:
    """As the vendor's client uploads: data URLs to the storage host."""
    asked, link = converse(adapter().upload(PICTURE), sample("uploaded"))
    assert asked == ["POST https://workflows-api.segmind.com/upload-asset"]
    assert link == "https://images.segmind.com/assets/0b1c.png"
    for answer in (sample("error_401_invalid"), reply({"file_urls": []}), reply({"message": "ok"})):
        with pytest.raises(ProviderError):
            converse(adapter().upload(PICTURE), answer)


def test_the_models_are_the_documented_ones() -> None:
    """Asking costs no call."""
    asked, models = converse(adapter().models())
    assert (asked, models) == ([], adapter().capabilities.models)
