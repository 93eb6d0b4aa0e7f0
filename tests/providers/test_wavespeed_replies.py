"""WaveSpeed: what its answers mean: statuses, codes, flags, errors, tickets."""

import json

import pytest

from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.types import RemoteTask
from tests.providers.test_wavespeed import KEY, LINK, PICTURE, polled, provider, reply

STATUSES = {
    "submitted": "queued",
    "processing": "running",
    "completed": "succeeded",
    "failed_silent": "failed",
    "cancelled": "canceled",
    "timeout": "failed",
    "deleted": "failed",
    "unknown_status": "running",
}
"""Sample reply to phase: created, processing, completed, failed, cancelled, timeout, deleted, and a word of no list."""

FAILURES = {
    "failed_1200": "moderated",
    "failed_1400": "invalid_request",
    "failed_1401": "invalid_request",
    "failed_1402": "image_unreadable",
    "failed_1403": "provider_failed",
    "failed_1405": "provider_failed",
    "failed_5000": "provider_failed",
    "failed_5003": "provider_failed",
    "failed_5004": "timed_out",
    "failed_worded": "moderated",
    "failed_silent": "provider_failed",
    "timeout": "timed_out",
    "deleted": "not_found",
    "cancelled": "canceled",
}

ERRORS = {
    "error_400": ("invalid_request", "refused"),
    "error_400_credits": ("payment_required", "refused"),
    "error_400_moderated": ("moderated", "refused"),
    "error_401": ("unauthorized", "refused"),
    "error_402": ("payment_required", "refused"),
    "error_403": ("unauthorized", "refused"),
    "error_404": ("not_found", "refused"),
    "error_422": ("invalid_request", "refused"),
    "error_429": ("rate_limited", "refused"),
    "error_500": ("provider_failed", "unknown"),
    "error_502": ("provider_failed", "unknown"),
    "error_503": ("provider_failed", "unknown"),
    "inside_200_401": ("unauthorized", "refused"),
    "inside_200_1401": ("invalid_request", "refused"),
    "inside_200_500": ("provider_failed", "unknown"),
    "inside_200_5003": ("provider_failed", "unknown"),
    "inside_200_777": ("provider_failed", "unknown"),
}
"""Sample reply to a submission: our code, and whether the vendor can have accepted it."""


@pytest.mark.parametrize("name", STATUSES)
def test_every_status_is_understood(name: str) -> None:
    """Words of no list mean running, and so does an end without a picture: only the deadline ends a paid job."""
    assert polled(name).phase == STATUSES[name]


@pytest.mark.parametrize("name", FAILURES)
def test_every_way_to_fail_is_told(name: str) -> None:
    """By the code of the failure where there is one, else by its words; each with a way out."""
    fault = polled(name).fault
    assert fault is not None
    assert fault.code == FAILURES[name]
    assert fault.hint


def test_the_vendor_s_own_words_are_quoted() -> None:
    """In the message, after ours."""
    fault = polled("failed_1402").fault
    assert fault is not None
    assert fault.message.endswith('WaveSpeed said: "failed to download control_image".')


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_broken_service_never_proves_a_refusal(code: int) -> None:
    """Whatever its words are, and also as a code inside HTTP 200."""
    for status in (code, 200):
        body = json.dumps({"code": code, "message": "prohibited content", "data": None}).encode()
        with pytest.raises(ProviderError) as caught:
            provider().read(HttpReply("wavespeed", status, {}, body))
        assert (caught.value.code, caught.value.delivery) == ("provider_failed", "unknown")


def test_an_error_may_be_an_object() -> None:
    """Then its message is quoted."""
    data = {"id": "1", "status": "failed", "error": {"message": "too dark"}}
    report = provider().read(HttpReply("wavespeed", 200, {}, json.dumps({"code": 200, "data": data}).encode())).report
    assert report.fault is not None
    assert '"too dark"' in report.fault.message


@pytest.mark.parametrize(("name", "flags"), [("completed", [False, True]), ("completed_short_flags", [False, False])])
def test_the_safety_filter_is_heard_for_each_picture(name: str, flags: list[bool]) -> None:
    """One flag per output; missing ones mean nothing was found."""
    assert [row.flagged for row in polled(name).outputs] == flags


def test_pictures_inside_the_reply_are_taken_out() -> None:
    """Plain base64 or a data URL."""
    outputs = polled("completed_base64").outputs
    assert len(outputs) == 2
    assert all(row.url is None and (row.content or b"").startswith(b"\x89PNG") for row in outputs)


def test_the_task_is_known_by_its_id() -> None:
    """The receipt of a submission; ids may come as numbers."""
    adapter = provider()
    assert adapter.read(reply("submitted")).task.remote_id == "b7f6f0a2d1c94be0a3a1c0ffee123456"
    assert adapter.read(reply("completed_short_flags")).task.remote_id == "1234567"


def test_sync_mode_may_answer_with_the_pictures() -> None:
    """Then nothing has to be asked for any more."""
    report = provider().read(reply("completed")).report
    assert report.phase == "succeeded"
    assert len(report.outputs) == 2


def test_the_end_of_waiting_is_not_the_end_of_the_task() -> None:
    """Code 5004 of a submission in sync mode: the task goes on and is asked for."""
    submission = provider().read(reply("sync_wait_ended"))
    assert submission.report.phase == "running"
    assert next(provider().poll(submission.task)).method == "GET"


def test_a_task_with_an_id_is_adopted_from_an_error() -> None:
    """A gateway's error around a receipt: the task exists, so it must not be lost."""
    sample = reply("submitted")
    submission = provider().read(HttpReply("wavespeed", 504, {}, sample.body))
    assert submission.task.remote_id.startswith("b7f6")
    assert submission.report.phase == "running"


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_told(name: str) -> None:
    """Each has our code, a way out, no key, and says whether something may have been bought."""
    code, delivery = ERRORS[name]
    with pytest.raises(ProviderError) as caught:
        provider().read(reply(name))
    assert (caught.value.code, caught.value.delivery) == (code, delivery)
    assert caught.value.hint
    assert KEY not in str(caught.value)


def test_the_wait_that_the_vendor_asks_for_is_kept() -> None:
    """`Retry-After` of a 429."""
    with pytest.raises(ProviderError) as caught:
        provider().read(reply("error_429"))
    assert caught.value.retry_after_seconds == 17
    assert caught.value.retryable


@pytest.mark.parametrize(
    "body", [b"<html>maintenance</html>", b'{"code": 200, "message": "success", "data": {}}', b"7"]
)
def test_nonsense_is_quoted_and_may_have_been_accepted(body: bytes) -> None:
    """A web page, a receipt without an id, and something else."""
    with pytest.raises(ProviderError) as caught:
        provider().read(HttpReply("wavespeed", 200, {}, body))
    assert caught.value.delivery == "unknown"
    assert caught.value.provider_message == body.decode()


def test_a_task_that_is_done_without_a_picture_is_asked_for_again() -> None:
    """For a while: pictures may come later than the word."""
    with pytest.raises(ProviderError, match="names no picture") as caught:
        polled("completed_empty")
    assert (caught.value.retryable, caught.value.lasting) == (True, True)


@pytest.mark.parametrize("name", ["error_404", "error_429", "error_500", "error_502", "inside_200_500"])
def test_a_fault_while_asking_is_an_error_that_can_be_tried_again(name: str) -> None:
    """It says nothing of the task, which goes on being asked for."""
    with pytest.raises(ProviderError) as caught:
        polled(name)
    assert caught.value.retryable
    assert caught.value.hint


def test_an_id_cannot_lead_the_key_elsewhere() -> None:
    """It is part of a path and nothing else."""
    call = next(provider().poll(RemoteTask(remote_id="../balance?x=1#")))
    assert call.url == "https://api.wavespeed.ai/api/v3/predictions/..%2Fbalance%3Fx%3D1%23/result"


def test_an_upload_follows_its_ticket_without_the_key() -> None:
    """POST for the ticket, PUT with its header fields only; what the connection decides is left out."""
    steps = provider().upload(PICTURE)
    first = next(steps)
    put = steps.send(reply("ticket"))
    with pytest.raises(StopIteration) as end:
        steps.send(HttpReply("wavespeed", 201, {}, b""))
    assert first.json == {"filename": f"{'ab' * 8}.png", "size": 99, "content_type": "image/png"}
    assert (put.method, put.url) == ("PUT", "https://storage.wavespeed.ai/inbox/1.png?signature=abc")
    assert dict(put.headers) == {"Content-Type": "image/png"}
    assert end.value.value == "https://d2g64w682n9w0w.cloudfront.net/media/1.png"
    assert not first.submits


@pytest.mark.parametrize(
    ("method", "target", "link"),
    [
        ("PUT", "http://storage.example/1.png", LINK),
        ("PUT", "http://169.254.169.254/latest", LINK),
        ("PUT", "https://user:word@storage.example/1.png", LINK),
        ("PUT", "file:///etc/passwd", LINK),
        ("PUT", "https:///1.png", LINK),
        ("PUT", "https://storage.example/1.png", "http://media.example/1.png"),
        ("POST", "https://storage.example/1.png", LINK),
    ],
)
def test_a_strange_ticket_is_not_followed(method: str, target: str, link: str) -> None:
    """Pictures go to the configured origin or by https, and by PUT; nothing was bought yet."""
    data = {"upload": {"method": method, "url": target}, "download_url": link}
    steps = provider().upload(PICTURE)
    next(steps)
    with pytest.raises(ProviderError) as caught:
        steps.send(HttpReply("wavespeed", 200, {}, json.dumps({"code": 200, "data": data}).encode()))
    assert caught.value.code == "provider_failed"
    assert caught.value.hint


def test_a_storage_that_refuses_ends_the_upload() -> None:
    """Nothing is submitted then."""
    steps = provider().upload(PICTURE)
    next(steps)
    steps.send(reply("ticket"))
    with pytest.raises(ProviderError):
        steps.send(HttpReply("wavespeed", 403, {}, b"<Error><Code>AccessDenied</Code></Error>"))
