"""Scenario's replies: every status, refusal and asset, read from samples without a network."""

import json
from functools import partial

import pytest
from pydantic import JsonValue

from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpReply, Steps
from controlnet_mcp.providers.types import Cost, Output, RemoteTask, Report
from tests.providers.test_scenario import LARGE, PICTURE, provider, request
from tests.support.conversations import held, recorded

reply = partial(recorded, "scenario")
TASK = RemoteTask(remote_id="job/with a strange id")

STATUSES = {
    "pending": "queued",
    "queued": "queued",
    "warming-up": "running",
    "in-progress": "running",
    "finalizing": "running",
    "success": "succeeded",
    "failure": "failed",
    "canceled": "canceled",
}
"""The vendor's list of statuses, all of it."""

REFUSALS = {
    "refused_400": ("invalid_request", False),
    "refused_401": ("unauthorized", False),
    "refused_403": ("unauthorized", False),
    "refused_404": ("not_found", False),
    "refused_429": ("rate_limited", True),
    "refused_429_cooldown": ("rate_limited", True),
    "refused_units": ("payment_required", False),
    "refused_moderated": ("moderated", False),
    "refused_reason": ("invalid_request", False),
}
"""Sample to our code and whether the same call may succeed later."""


def talked_on(steps: Steps[str], answer: HttpReply) -> None:
    """Give the same reply again and again."""
    for _ in range(1000):
        steps.send(answer)


def polled(name: str) -> Report:
    """What a sample says of a job."""
    return held(provider().poll(TASK), reply(name))[0]


def test_the_submission_names_its_job() -> None:
    """The guide's own example: job id, status and cost."""
    submission = provider().read(reply("submitted"))
    assert submission.task.remote_id == "job_controlnet_123"
    assert submission.report.phase == "queued"
    assert submission.report.cost == Cost(amount=5, unit="creative units")


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_understood(status: str) -> None:
    """Each of the vendor's statuses has a phase, and is told as the stage."""
    body = {"job": {"jobId": "j", "status": status, "progress": 0.5, "metadata": {"assetIds": ["asset_1"]}}}
    report = held(provider().poll(TASK), HttpReply("scenario", 200, {}, json.dumps(body).encode()))[0]
    assert (report.phase, report.stage) == (STATUSES[status], status)


def test_the_guide_s_finished_job_has_its_asset() -> None:
    """`jobType` differs from the submission's, which means nothing."""
    report = polled("finished")
    assert report.phase == "succeeded"
    assert report.outputs == (Output(asset_id="asset_controlnet_abc"),)
    assert report.progress == 1


def test_cost_and_seed_are_read_where_they_stand() -> None:
    """Without `creativeUnitsCost` the billing counts, add-ons included."""
    report = polled("finished_two")
    assert [output.asset_id for output in report.outputs] == ["asset_one", "asset_two"]
    assert report.cost == Cost(amount=14, unit="creative units")
    assert report.seed == 1234
    assert polled("running").progress == 0.4


def test_numbers_may_be_text_and_ids_numbers() -> None:
    """Some replies of the vendor mix them."""
    submission = provider().read(reply("numbers_as_text"))
    assert submission.task.remote_id == "4711"
    assert submission.report.progress == 0.25
    assert submission.report.cost == Cost(amount=7.5, unit="creative units")


def test_a_paid_job_is_not_given_up_for_a_strange_reply() -> None:
    """A new status is one that runs; a success whose assets are not listed yet is asked for again, for a while."""
    report = polled("unknown_status")
    assert (report.phase, report.outputs) == ("running", ())
    with pytest.raises(ProviderError, match="names no picture") as caught:
        polled("finished_empty")
    assert (caught.value.retryable, caught.value.lasting) == (True, True)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("failed", "provider_failed", "Worker ran out of memory Use a smaller size."),
        ("failed_in_job", "provider_failed", "Control image could not be read"),
        ("failed_moderated", "moderated", "blocked by moderation"),
    ],
)
def test_the_reason_of_a_failure_is_read_in_either_place(name: str, code: str, words: str) -> None:
    """`job.error` as in the guide, `metadata.error` and `hint` as in the client."""
    fault = polled(name).fault
    assert fault is not None
    assert fault.code == code
    assert words in fault.message
    assert fault.hint


def test_a_refund_is_promised_only_where_there_is_one() -> None:
    """Some models keep the units of a failed job."""
    usual, kept = polled("failed").fault, polled("failed_in_job").fault
    assert usual is not None
    assert kept is not None
    assert "is refunded" in usual.hint
    assert "is not refunded" in kept.hint


def test_ids_from_replies_cannot_change_the_path() -> None:
    """They are quoted."""
    calls = held(provider().poll(TASK), reply("running"))[1]
    assert calls[0].url == "https://api.cloud.scenario.com/v1/jobs/job%2Fwith%20a%20strange%20id"


@pytest.mark.parametrize("name", REFUSALS)
def test_every_refusal_has_its_code_and_a_way_out(name: str) -> None:
    """None of them did any work."""
    with pytest.raises(ProviderError) as caught:
        provider().read(reply(name))
    error = caught.value
    assert (error.code, error.retryable) == REFUSALS[name]
    assert error.hint
    assert error.delivery == "refused"
    assert error.provider_message


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_may_have_been_accepted(status: int) -> None:
    """So it is not refused."""
    with pytest.raises(ProviderError) as caught:
        provider().read(HttpReply("scenario", status, {"retry-after": "7"}, b"<html>oops</html>"))
    assert (caught.value.code, caught.value.delivery) == ("provider_failed", "unknown")
    assert caught.value.retry_after_seconds == 7


def test_the_ceiling_and_the_cooldown_of_a_429_are_told() -> None:
    """The ceiling is on jobs at once; a cooldown is a time."""
    with pytest.raises(ProviderError, match="The limit is 5 at once"):
        provider().read(reply("refused_429"))
    with pytest.raises(ProviderError) as caught:
        provider().read(reply("refused_429_cooldown"))
    assert caught.value.retry_after_seconds == 42


def test_nonsense_is_quoted_and_may_have_been_accepted() -> None:
    """A success that is no job."""
    with pytest.raises(ProviderError) as caught:
        provider().read(HttpReply("scenario", 200, {}, b"<html>maintenance</html>"))
    assert caught.value.delivery == "unknown"
    assert "maintenance" in str(caught.value)


def test_http_269_is_the_price() -> None:
    """The same call with `dryRun`, marked as not submitting."""
    cost, (call,) = held(provider().price(request(options={"project_id": "proj_1"}), {}), reply("price"))
    assert cost == Cost(amount=10, unit="creative units", estimated=True)
    paid = provider().build(request(), "", {})
    assert (call.url, call.json, call.submits) == (paid.url, paid.json, False)
    assert dict(call.query) == {"projectId": "proj_1", "dryRun": "true"}


def test_a_price_without_end_is_nonsense() -> None:
    """No cap could be compared with it, and no record could keep it."""
    endless = HttpReply("scenario", 269, {}, b'{"creativeUnitsCost": 1e999}')
    with pytest.raises(ProviderError, match="not expected"):
        held(provider().price(request(), {}), endless)


def test_nothing_is_uploaded_for_a_price() -> None:
    """A request with a large picture has none, and no call is made."""
    steps = provider().price(request(init_image=LARGE), {})
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value is None


def test_the_asset_is_read_again_for_its_link() -> None:
    """The link that an asset has now, as the vendor keeps the picture."""
    located, (call,) = held(provider().locate(Output(asset_id="asset_controlnet_abc")), reply("asset"))
    assert located.url is not None
    assert located.url.startswith("https://cdn.cloud.scenario.com/")
    assert (located.asset_id, located.flagged) == ("asset_controlnet_abc", False)
    assert call.url.endswith("/v1/assets/asset_controlnet_abc")
    assert dict(call.query) == {"originalAssets": "true"}


@pytest.mark.parametrize(("nsfw", "flagged"), [(["nudity"], True), ([], False), (None, False), ("false", False)])
def test_e5_what_the_filter_says_of_an_asset_is_read(nsfw: JsonValue, *, flagged: bool) -> None:
    """E5: a list of labels in the SDK; no label is no mark."""
    asset = {"id": "asset_1", "url": "https://cdn.cloud.scenario.com/1.png", "status": "success", "nsfw": nsfw}
    told = HttpReply("scenario", 200, {}, json.dumps({"asset": asset}).encode())
    located, _ = held(provider().locate(Output(asset_id="asset_1")), told)
    assert located.flagged is flagged


@pytest.mark.parametrize(
    ("name", "retryable"), [("asset_pending", True), ("asset_error", False), ("asset_nonsense", True)]
)
def test_an_asset_without_a_picture_never_shows_its_link(name: str, *, retryable: bool) -> None:
    """Signed links are credentials: no error quotes them."""
    steps = provider().locate(Output(asset_id="asset_controlnet_abc"))
    next(steps)
    with pytest.raises(ProviderError) as caught:
        steps.send(reply(name))
    assert caught.value.retryable is retryable
    assert "Signature" not in f"{caught.value} {caught.value!r} {caught.value.provider_message}"


def test_a_small_picture_is_uploaded_in_one_call() -> None:
    """Plain base64, as the vendor's page has it."""
    asset_id, (call,) = held(provider().upload(PICTURE), reply("asset"))
    assert asset_id == "asset_controlnet_abc"
    assert call.url.endswith("/v1/assets")
    assert not call.submits


def test_a_large_picture_is_uploaded_by_ticket_in_one_part() -> None:
    """Ticket, part without the key, completion, and looks until it is imported."""
    names = ["upload_ticket", None, "upload_validating", "upload_validating", "upload_imported"]
    replies = [reply(name) if name else HttpReply("scenario", 200, {}, b"") for name in names]
    asset_id, calls = held(provider().upload(LARGE), *replies)
    assert asset_id == "asset_large"
    assert [call.method for call in calls] == ["POST", "PUT", "POST", "GET", "GET"]
    assert calls[0].json == {
        "fileName": f"{LARGE.sha256[:16]}.png",
        "contentType": "image/png",
        "fileSize": 7_000_000,
        "kind": "image",
        "parts": 1,
    }
    assert not calls[1].headers
    assert calls[2].json == {"action": "complete"}


def test_a_picture_that_the_vendor_does_not_take_is_told() -> None:
    """The upload failed its checks."""
    steps = provider().upload(LARGE)
    next(steps)
    for answer in (reply("upload_ticket"), HttpReply("scenario", 200, {}, b"")):
        steps.send(answer)
    with pytest.raises(ProviderError, match="Unsupported image") as caught:
        steps.send(reply("upload_failed"))
    assert caught.value.code == "image_unreadable"


def test_an_upload_that_is_never_checked_is_given_up() -> None:
    """Nothing was bought, so it may be tried again."""
    steps = provider().upload(LARGE)
    next(steps)
    steps.send(reply("upload_ticket"))
    steps.send(HttpReply("scenario", 200, {}, b""))
    with pytest.raises(ProviderError) as caught:
        talked_on(steps, reply("upload_validating"))
    assert (caught.value.code, caught.value.retryable) == ("timed_out", True)


@pytest.mark.parametrize("address", ["http://169.254.169.254/part", "file:///etc/passwd", ""])
def test_a_part_goes_nowhere_strange(address: str) -> None:
    """Only over TLS, or to the service's own origin."""
    ticket = json.loads(reply("upload_ticket").body)
    ticket["upload"]["parts"][0]["url"] = address
    steps = provider().upload(LARGE)
    next(steps)
    with pytest.raises(ProviderError, match="no usable address"):
        steps.send(HttpReply("scenario", 200, {}, json.dumps(ticket).encode()))


@pytest.mark.parametrize(
    ("name", "stopped"), [("canceled", True), ("running", True), ("finished", False), ("cannot_cancel", False)]
)
def test_a_job_is_stopped_where_it_can_be(name: str, *, stopped: bool) -> None:
    """HTTP 400 means that this kind cannot be stopped; a job that is done is not stopped either."""
    done, (call,) = held(provider().cancel(TASK), reply(name))
    assert done is stopped
    assert call.json == {"action": "cancel"}
