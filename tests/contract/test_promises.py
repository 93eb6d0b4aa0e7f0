"""What every provider promises to whoever asks, generated from the table and from what each says that it can do.

`provider_contract.py` holds what an adapter is inside: pure, and never led astray by nonsense. A new row in the table
is found here by itself. Vendors' own facts are held in `test_provider_<name>*.py`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.jobs.prepare import unsupported_settings
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpCall, HttpReply
from controlnet_mcp.providers.registry import NAMES
from controlnet_mcp.providers.types import Control, RequestWarning, ResolvedRequest, Setting
from tests.contract.provider_contract import BARE, LINK, PICTURE, READY, adapter, build, is_plain, shown

REPLIES = Path(__file__).parents[1] / "support" / "replies"
FAMILY_WORDS = {"normalmap": "normalbae", "segmentation": "seg"}
"""Families of a page whose preprocessors and models carry another word on the wire."""
START: dict[str, object] = {"init_image": PICTURE, "init_url": "https://pictures.example/start.png", "strength": 0.6}
MASK: dict[str, object] = {"mask_image": PICTURE, "mask_url": "https://pictures.example/mask.png"}
ASKED: dict[Setting, dict[str, object]] = {
    "negative_prompt": {"negative_prompt": "blurry"},
    "init_image": {**START},
    "mask_image": {**START, **MASK},
    "strength": {**START, "strength": 0.31},
    "model": {"model": "a-model-of-my-own"},
    "steps": {"steps": 21},
    "guidance": {"guidance": 4.5},
    "scheduler": {"scheduler": "DDIM"},
    "seed": {"seed": 99},
}
"""Each optional setting with a value that differs from every default, and what it acts on."""
WISHED: dict[Setting, object] = {
    **{name: values.get(name) for name, values in ASKED.items()},
    "init_image": LINK,
    "mask_image": LINK,
}
STATUSES = (
    (401, "unauthorized", "refused"),
    (402, "payment_required", "refused"),
    (403, "unauthorized", "refused"),
    (404, "not_found", "refused"),
    (429, "rate_limited", "refused"),
    (500, "provider_failed", "unknown"),
    (502, "provider_failed", "unknown"),
    (504, "provider_failed", "unknown"),
)
"""HTTP statuses of a reply to a submission, what they mean, and whether it may have been accepted all the same."""


def request(provider: Provider, modality: str | None = None, **changes: object) -> ResolvedRequest:
    """A request for one modality, by default the first, inside the provider's sizes."""
    can = provider.capabilities
    modality = modality or next(iter(can.modalities))
    is_map = can.modalities[modality].takes != "picture"
    values: dict[str, object] = {
        "prompt": "a house",
        "controls": (Control(modality=modality, picture=PICTURE, source_url=LINK, is_map=is_map),),
        "width": can.sizes.preferred,
        "height": can.sizes.preferred,
        "seed": 7,
        "options": provider.options().model_dump(mode="json"),
    }
    return ResolvedRequest.model_validate(values | changes)


def built(provider: Provider, wanted: ResolvedRequest) -> tuple[HttpCall, tuple[RequestWarning, ...]]:
    """The call of a request, as the runner makes it, and what was said about it."""
    settled = provider.fit(wanted)
    return build(provider, settled.request), settled.warnings


def first_built(provider: Provider, modality: str) -> HttpCall:
    """The call for a modality with the default model, else with another one, else with a mask."""
    refusals: list[ControlNetError] = []
    for more in ({}, {"model": "stable-diffusion-v1-5"}, {**START, **MASK}):
        try:
            return built(provider, request(provider, modality, **more))[0]
        except ControlNetError as error:
            refusals.append(error)
    raise AssertionError(refusals)


def plain(text: str) -> str:
    """Letters and digits in lower case."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def modalities() -> Iterator[tuple[str, str]]:
    """Every modality of every provider."""
    for entry in BARE.values():
        yield from ((entry.name, modality) for modality in entry.capabilities.modalities)


def samples() -> Iterator[Path]:
    """Every sample reply."""
    yield from sorted(REPLIES.glob("*/*.json"))


def refused(provider: Provider, reply: HttpReply) -> ProviderError:
    """The error that a reply to a submission is told as."""
    with pytest.raises(ProviderError) as caught:
        provider.read(reply)
    return caught.value


@pytest.mark.parametrize(("name", "modality"), [*modalities()])
def test_every_modality_is_sent_under_the_vendor_s_name(name: str, modality: str) -> None:
    """In the path or in the body; the call is the one that can cost money and has our reference where there is room."""
    provider = adapter(READY[name])
    call = first_built(provider, modality)
    native = plain(provider.capabilities.modalities[modality].native)
    sent = plain(shown(call))
    assert native in sent or FAMILY_WORDS.get(native, native) in sent
    assert call.submits
    assert call.url.startswith(provider.base_url)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("setting", ASKED)
def test_no_setting_is_dropped_in_silence(name: str, setting: Setting) -> None:
    """What a provider has no place for is a warning; what it says it honours changes the request or is told of."""
    provider = adapter(READY[name])
    asked = request(provider, None, **ASKED[setting])
    wanted = GenerateRequest.model_validate(
        {"prompt": "a house", "control_image": LINK, "init_image": LINK, setting: WISHED[setting]}
    )
    kept, notices = unsupported_settings(asked, wanted, provider)
    if setting not in provider.capabilities.settings:
        assert setting in [notice.feature for notice in notices]
        assert setting == "seed" or getattr(kept, setting) is None
        return
    assert setting not in [notice.feature for notice in notices]
    own = {setting, setting.replace("_image", "_url")}
    usual, _ = built(provider, request(provider, None, **{k: v for k, v in ASKED[setting].items() if k not in own}))
    try:
        call, said = built(provider, kept)
    except ControlNetError as error:
        is_plain(error)
        return
    assert setting in [notice.feature for notice in said] or shown(call) != shown(usual)


@pytest.mark.parametrize("name", NAMES)
def test_weights_ranges_and_counts_that_cannot_be_kept_are_told(name: str) -> None:
    """Each of them changes the request or is a warning."""
    provider = adapter(READY[name])
    can, (control,) = provider.capabilities, request(provider).controls
    changed = control.model_copy(update={"weight": 0.5, "start": 0.2, "end": 0.7})
    wanted = GenerateRequest(prompt="a house", control_image=LINK, num_images=4)
    _, notices = unsupported_settings(request(provider, controls=(changed,)), wanted, provider)
    features = {notice.feature for notice in notices}
    assert ("weight" in features) == (not can.weights)
    assert any("start and end" in feature for feature in features) == (not can.control_range)
    assert ("num_images" in features) == (can.max_images < 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("status", "code", "delivery"), STATUSES)
def test_every_status_has_its_meaning(name: str, status: int, code: str, delivery: str) -> None:
    """With a way out, and without a claim about delivery that the status does not prove."""
    error = refused(adapter(READY[name]), HttpReply(name, status, {}, b'{"message": "it is so"}'))
    assert (error.code, error.delivery) == (code, delivery)
    assert error.hint
    assert error.provider == name
    assert error.retryable == (status == 429 or status >= 500)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b"", b"[]", b'{"surprise": 1}'])
def test_nonsense_is_quoted_and_proves_nothing(name: str, body: bytes) -> None:
    """A success that nobody can read may have been a submission that was accepted."""
    error = refused(adapter(READY[name]), HttpReply(name, 200, {"content-type": "text/html"}, body))
    assert (error.code, error.delivery) == ("provider_failed", "unknown")
    assert error.hint
    assert body.decode()[:8].replace('"', "'") in str(error)


@pytest.mark.parametrize("path", [*samples()], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_sample_reply_says_where_its_shape_is_from(path: Path) -> None:
    """None is a live recording, and none may look like one; a refusal among them has a meaning and a way out."""
    sample = json.loads(path.read_text(encoding="utf-8"))
    assert len(sample["source"]) > 10
    name, status = path.parent.name, sample.get("status", 200)
    if status < 400 or "request" in path.stem:
        return
    body = sample["body"] if isinstance(sample["body"], str) else json.dumps(sample["body"])
    error = refused(adapter(READY[name]), HttpReply(name, status, sample.get("headers", {}), body.encode()))
    assert error.hint
    told_when = status == 503 and "retry-after" in sample.get("headers", {})
    assert error.delivery == ("unknown" if status >= 500 and not told_when else "refused")


def test_every_hosted_provider_has_a_simulator_and_samples() -> None:
    """And the folder of samples says what they are."""
    hosted = [entry.name for entry in BARE.values() if entry.missing]
    assert [
        name for name in hosted if not (Path(__file__).parents[1] / "support" / "simulators" / f"{name}.py").is_file()
    ] == []
    assert sorted(hosted) == sorted(path.name for path in REPLIES.iterdir() if path.is_dir())
    assert "no live recording" in (REPLIES / "README.md").read_text(encoding="utf-8")
