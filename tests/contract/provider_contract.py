"""What holds for every provider in the table, whoever wrote its adapter; `test_provider_contract.py` runs it.

Each function takes one row of the table and fails with an assertion.
"""

import json
from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias, get_args

from pydantic import SecretStr, ValidationError

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.resize import fit_size
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpCall, HttpReply
from controlnet_mcp.providers.placeholders import show, shown_headers
from controlnet_mcp.providers.registry import (
    ProviderEntry,
    adapter_class,
    build_table,
    is_provider_variable,
    is_secret,
    provider_variables,
)
from controlnet_mcp.providers.types import Control, Output, RemoteTask, ResolvedRequest, Setting

MARK = "do-not-show"
"""Part of every secret that the tests hand out."""
PICTURE = StoredPicture(sha256="ab" * 32, mime_type="image/png", width=640, height=512, size_bytes=12345)
LINK = "https://pictures.example/house.png"
MOST_CALLS = 40
BODIES = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"<html>no</html>",
    b'"text"',
    b'{"id": 7, "status": {}, "images": "x"}',
    b"\xff\xfe",
)
STATUSES = (200, 201, 202, 204, 302, 400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503)

Check: TypeAlias = Callable[[ProviderEntry, ProviderEntry], None]
"""Takes the row with every key set, and the row with none."""


def configured() -> dict[str, str]:
    """Every variable that has to be set; keys are recognisable."""
    return {name: f"{MARK}-{name}" for name in provider_variables() if is_secret(name)}


READY = {entry.name: entry for entry in build_table(configured())}
BARE = {entry.name: entry for entry in build_table({})}


def adapter(entry: ProviderEntry) -> Provider:
    """The adapter of a row with everything set."""
    assert entry.provider is not None, f"{entry.name} is not ready although everything is set"
    return entry.provider


def requests(provider: Provider) -> Iterator[ResolvedRequest]:
    """A settled request for every modality that the provider takes."""
    settled = 0
    for modality in provider.capabilities.modalities:
        control = Control(modality=modality, picture=PICTURE, source_url=LINK, is_map=True)
        full = ResolvedRequest(
            prompt="a house by the sea",
            controls=(control,),
            init_image=PICTURE,
            init_url=LINK,
            width=1024,
            height=1024,
            seed=7,
            options=provider.options().model_dump(mode="json"),
        )
        for request in (full, full.model_copy(update={"init_image": None, "init_url": None})):
            try:
                yield provider.fit(request).request
            except ControlNetError as error:
                is_plain(error)
                continue
            settled += 1
            break
    assert settled, "no modality can be asked for"


def is_plain(error: ControlNetError) -> None:
    """Check a refusal that needed no provider: it says what to do instead."""
    assert error.code in {"unsupported", "invalid_request"}, error
    assert error.hint, error


def build(provider: Provider, request: ResolvedRequest) -> HttpCall:
    """The submission of a request whose pictures were uploaded."""
    uploaded = {picture.sha256: "https://uploads.example/asset_1" for picture in provider.uploads(request)}
    return provider.build(request, "our-reference", uploaded)


def shown(call: HttpCall) -> str:
    """All of a call that anybody may see."""
    return json.dumps([call.method, call.url, dict(call.query), shown_headers(call), show(call.json)])


def has_sane_capabilities(ready: ProviderEntry, bare: ProviderEntry) -> None:
    """Known names, possible sizes and counts; the same whether keys are set or not."""
    can = ready.capabilities
    assert can is bare.capabilities or can == bare.capabilities
    assert can is adapter(ready).capabilities or can == adapter(ready).capabilities
    assert can.modalities
    assert set(can.modalities) <= set(MODALITIES)
    assert all(support.native for support in can.modalities.values())
    assert can.settings <= set(get_args(Setting))
    sizes = can.sizes
    assert 1 <= sizes.multiple <= sizes.minimum <= sizes.preferred <= sizes.maximum <= 16384
    width, height = fit_size(4000, 3000, minimum=sizes.minimum, maximum=sizes.maximum, multiple=sizes.multiple)
    assert width % sizes.multiple == height % sizes.multiple == 0
    assert 1 <= can.max_controls <= 16
    assert 1 <= can.max_images <= 16
    assert can.upload_lifetime_seconds >= 0
    assert len({row.name for row in can.models}) == len(can.models)
    assert all(row.name for row in can.models)


def names_what_is_missing(ready: ProviderEntry, bare: ProviderEntry) -> None:
    """A row without keys names variables that exist, and has an adapter exactly when nothing is missing."""
    assert ready.name == bare.name == adapter(ready).name
    assert ready.missing == ()
    assert (bare.provider is None) == bool(bare.missing)
    settings = adapter_class(ready.name).settings
    assert settings.missing(dict.fromkeys(bare.missing, "")) == bare.missing, "an empty key counts as one"
    assert set(bare.missing) <= set(settings.variables())


def declares_its_variables(ready: ProviderEntry, _bare: ProviderEntry) -> None:
    """Each begins with the provider's name, is explained, and is called a key or a secret exactly when it is one."""
    settings = adapter_class(ready.name).settings
    for variable, field in zip(settings.variables(), settings.model_fields.values(), strict=True):
        assert variable.isupper()
        assert variable.startswith(f"{ready.name.upper()}_")
        assert is_provider_variable(variable)
        assert is_secret(variable) == (SecretStr in (field.annotation, *get_args(field.annotation)))
        assert field.description
    assert set(adapter(ready).secrets) >= set(settings.read(configured()).secrets)


def explains_its_options(ready: ProviderEntry, _bare: ProviderEntry) -> None:
    """All have defaults and a description, and an unknown one is an error."""
    options = adapter(ready).options
    assert options.model_validate(options().model_dump(mode="json")) == options()
    assert [name for name, field in options.model_fields.items() if not field.description] == []
    try:
        options.model_validate({"no_such_option": 1})
    except ValidationError:
        return
    raise AssertionError("an unknown option was taken silently")


def builds_the_same_request_every_time(ready: ProviderEntry, _bare: ProviderEntry) -> None:
    """A submission is a pure function of the request, of our reference and of the uploads."""
    provider = adapter(ready)
    for request in requests(provider):
        first, again = build(provider, request), build(provider, request)
        assert first == again
        assert first.submits
        assert first.method in {"POST", "PUT"}
        assert first.url.startswith(("https://", "http://127.0.0.1", "draft://"))
        if provider.capabilities.deduplication == "key":
            assert "our-reference" in shown(first)


def shows_no_secret(ready: ProviderEntry, _bare: ProviderEntry) -> None:
    """What a dry run shows, and what an adapter says of itself, holds no key."""
    provider = adapter(ready)
    for request in requests(provider):
        call = build(provider, request)
        assert MARK not in shown(call)
        assert MARK not in repr(call)
        for picture in provider.uploads(request):
            assert MARK not in shown(next(provider.upload(picture)))
    assert MARK not in repr(provider)


def conversations(provider: Provider) -> Iterator[Generator[HttpCall, HttpReply, object]]:
    """Every conversation but the submission, each from its beginning."""
    request = next(requests(provider))
    uploads = {picture.sha256: "https://uploads.example/asset_1" for picture in provider.uploads(request)}
    for state in ({}, {"kind": "x", "url": LINK, "ticket": "{}"}):
        task = RemoteTask(remote_id="task-1", state=state)
        yield provider.poll(task)
        yield provider.cancel(task)
    for output in (Output(url=LINK), Output(asset_id="asset_1")):
        yield provider.locate(output)
    for picture in provider.uploads(request):
        yield provider.upload(picture)
    yield provider.price(request, uploads)
    yield provider.balance()
    yield provider.models()


def held(steps: Generator[HttpCall, HttpReply, object], status: int, body: bytes, name: str) -> None:
    """Hold a conversation in which every reply is the same nonsense; it ends, if with an error, then with ours."""
    try:
        call = next(steps)
        for _ in range(MOST_CALLS):
            assert not call.submits, "only the submission may cost money"
            assert MARK not in shown(call)
            call = steps.send(HttpReply(name, status, {"content-type": "application/json"}, body))
    except StopIteration:
        return
    except ControlNetError as error:
        told(error)
        return
    raise AssertionError(f"{name} asked more than {MOST_CALLS} times")


def told(error: ControlNetError) -> None:
    """Check an error that nonsense from a provider led to; delivery is checked where it matters."""
    assert isinstance(error, ProviderError), repr(error)
    assert error.message
    assert MARK not in str(error)
    assert len(str(error)) < 2000


def survives_nonsense_from_the_provider(ready: ProviderEntry, _bare: ProviderEntry) -> None:
    """Whatever a provider replies, every conversation ends, and only in errors of ours."""
    provider = adapter(ready)
    for status in STATUSES:
        for body in BODIES:
            for steps in conversations(provider):
                held(steps, status, body, provider.name)


def outcome(provider: Provider, reply: HttpReply) -> str:
    """What a reply to the submission means: `accepted`, or the delivery of the error that it leads to."""
    try:
        provider.read(reply)
    except ProviderError as error:
        told(error)
        return error.delivery
    return "accepted"


def takes_no_nonsense_for_an_acceptance(ready: ProviderEntry, _bare: ProviderEntry) -> None:
    """A reply to the submission is understood or refused; a success that cannot be read may have been accepted."""
    provider = adapter(ready)
    for status in STATUSES:
        for body in BODIES:
            met = outcome(provider, HttpReply(provider.name, status, {}, body))
            if status in {401, 402, 403, 404, 422, 429}:
                assert met == "refused", (status, body)
            elif status < 300 or status in {500, 502}:
                assert met in {"unknown", "accepted"} if status < 300 else met == "unknown", (status, body)
            else:
                assert met != "accepted", (status, body)


CONTRACT: tuple[Check, ...] = (
    has_sane_capabilities,
    names_what_is_missing,
    declares_its_variables,
    explains_its_options,
    builds_the_same_request_every_time,
    shows_no_secret,
    survives_nonsense_from_the_provider,
    takes_no_nonsense_for_an_acceptance,
)
