"""Attacks with tokens: a file that others can read or that changes, and tokens that are not meant for this server."""

import base64
import dataclasses
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TypeAlias

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.server.auth.access import Access, open_access
from controlnet_mcp.server.auth.oauth import KeySet, OAuthTokens
from controlnet_mcp.server.auth.tokens import TokenFile
from controlnet_mcp.server.settings import Settings
from tests.support.asgi_client import ACCEPT, ALICE, BOB, INITIALIZE, open_gate, write_tokens
from tests.support.job_layer import Clock
from tests.support.mcp_session import settings_for
from tests.support.simulators.serving import free_socket, running

pytestmark = pytest.mark.anyio
ISSUER = "https://login.example"
RESOURCE = "https://pictures.example/mcp"
ELSEWHERE = "https://elsewhere.example/mcp"
KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
Claims: TypeAlias = Mapping[str, object]


def good(**changes: object) -> dict[str, object]:
    """The claims of a token that is right, but for what is changed; `None` leaves one out."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": RESOURCE, "sub": "alice", "exp": now + 300, "iat": now, "scope": "draw"} | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(**changes: object) -> str:
    """A token of the issuer."""
    return jwt.encode(good(**changes), KEY, "ES256", headers={"kid": "one"})


def public_key_as_shared() -> str:
    """A token that is signed with the published key as if it were a shared one."""
    shared = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "one"}, good())]
    body = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return b".".join([body, base64.urlsafe_b64encode(hmac.digest(shared, body, "sha256")).rstrip(b"=")]).decode()


FORGED: Mapping[str, Callable[[], str]] = {
    "no signature": lambda: jwt.encode(good(), "", "none", headers={"kid": "one"}),
    "signed with the public key": public_key_as_shared,
    "signed by a stranger": lambda: jwt.encode(good(), STRANGER, "ES256", headers={"kid": "one"}),
    "signed in another way than its key": lambda: jwt.encode(good(), RSA, "RS256", headers={"kid": "one"}),
    "with a key of nobody": lambda: jwt.encode(good(), STRANGER, "ES256", headers={"kid": "two"}),
    "without a key": lambda: jwt.encode(good(), KEY, "ES256"),
    "for another service": lambda: signed(aud=ELSEWHERE),
    "for nobody": lambda: signed(aud=None),
    "for a longer name": lambda: signed(aud=f"{RESOURCE}.evil"),
    "of another issuer": lambda: signed(iss="https://evil.example"),
    "of no issuer": lambda: signed(iss=None),
    "expired": lambda: signed(exp=int(time.time()) - 5),
    "that never expires": lambda: signed(exp=None),
    "not valid yet": lambda: signed(nbf=int(time.time()) + 300),
    "of nobody": lambda: signed(sub=None),
    "that is none": lambda: "a.b.c",
    "cut short": lambda: signed()[:-3],
}


@pytest.fixture(scope="module")
def jwks() -> Generator[str]:
    """Where the issuer publishes its key."""
    published = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "one", "alg": "ES256"}

    async def keys(_request: Request) -> Response:
        return JSONResponse({"keys": [published]})

    with running(Starlette(routes=[Route("/jwks", keys)]), free_socket()) as origin:
        yield f"{origin}/jwks"


@pytest.fixture
def oauth(tmp_path: Path, pictures: Path, jwks: str) -> Settings:
    """Settings of a server that takes tokens of the issuer, and Alice's of a file."""
    tokens = write_tokens(tmp_path / "tokens", f"alice: {ALICE}")
    more = {"oauth_issuer": ISSUER, "oauth_resource": RESOURCE, "oauth_jwks_url": jwks, "oauth_scopes": ("draw",)}
    return settings_for(tmp_path / "data", pictures, tokens_file=tokens, **more)


async def status_of(settings: Settings, *tokens: str, change: Callable[[Access], Access] | None = None) -> list[int]:
    """How a server answers the first message of bearers."""
    statuses: list[int] = []
    async with open_gate(settings, change) as gate:
        for token in tokens:
            async with gate.browser(token) as browser:
                statuses.append((await browser.post("/mcp", json=INITIALIZE, headers=ACCEPT)).status_code)
    return statuses


async def test_a_token_that_is_right_opens(oauth: Settings) -> None:
    """The premise of the next test; a token of the file opens too, one without the scope is told so."""
    tokens = signed(), signed(aud=["x", RESOURCE]), ALICE, signed(scope="read")
    assert await status_of(oauth, *tokens) == [200, 200, 200, 403]


async def test_a_token_with_one_thing_wrong_does_not_open(oauth: Settings) -> None:
    """Whatever it is."""
    statuses = await status_of(oauth, *(make() for make in FORGED.values()))
    assert dict(zip(FORGED, statuses, strict=True)) == dict.fromkeys(FORGED, 401)


async def test_the_audience_is_checked_twice(oauth: Settings) -> None:
    """Here a verifier takes tokens of another service: the gate still refuses them, and without the gate they open."""

    def lax(access: Access) -> Access:
        keys = KeySet(str(oauth.oauth_jwks_url))
        return dataclasses.replace(access, verifier=OAuthTokens(ISSUER, ELSEWHERE, keys))

    def unchecked(access: Access) -> Access:
        return dataclasses.replace(lax(access), oauth=None)

    assert await status_of(oauth, signed(aud=ELSEWHERE), change=lax) == [401]
    assert await status_of(oauth, signed(aud=ELSEWHERE), change=unchecked) == [200]


async def test_clients_learn_where_to_log_in(oauth: Settings) -> None:
    """A 401 names the page that names the issuer."""
    async with open_gate(oauth) as gate, gate.browser() as browser:
        refused = await browser.post("/mcp", json=INITIALIZE, headers=ACCEPT)
        assert "/.well-known/oauth-protected-resource/mcp" in refused.headers["www-authenticate"]
        page = (await browser.get("/.well-known/oauth-protected-resource/mcp")).json()
    assert page["resource"] == RESOURCE
    assert [url.rstrip("/") for url in page["authorization_servers"]] == [ISSUER]


async def test_two_users_of_one_client_are_two_callers(oauth: Settings) -> None:
    """And neither is the bearer of the same name in the file."""
    async with open_gate(oauth) as gate:
        for token in (signed(client_id="app"), signed(client_id="app", sub="bob"), ALICE):
            async with gate.client(token) as caller:
                assert (await caller.call("list_jobs")).listed == ()
                assert (await caller.generate(prompt=f"a house for {token[-4:]}")).job.status == "succeeded"


async def test_unknown_keys_do_not_make_us_ask_again_and_again(jwks: str) -> None:
    """Nor does a broken publisher take the keys away that are known."""
    clock = Clock()
    keys = KeySet(jwks, clock)
    assert await keys.find("two") is None
    assert await keys.find("one") is not None
    keys.url = "http://127.0.0.1:9/gone"
    clock.now += 60
    assert await keys.find("three") is None
    assert await keys.find("one") is not None


async def test_a_withdrawn_key_opens_nothing_after_its_time() -> None:
    """A list of keys that is too long to be one changes nothing."""
    row = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "alg": "ES256"}
    published = {"keys": [{**row, "kid": "one"}, {**row, "kid": "two"}]}

    async def keys_page(_request: Request) -> Response:
        return JSONResponse(published)

    clock = Clock()
    with running(Starlette(routes=[Route("/jwks", keys_page)]), free_socket()) as origin:
        keys = KeySet(f"{origin}/jwks", clock)
        assert await keys.find("two") is not None
        published["keys"] = [{**row, "kid": "one"}]
        clock.now += 290
        assert await keys.find("two") is not None
        clock.now += 20
        assert await keys.find("two") is None
        published["keys"] = [{**row, "kid": "three", "padding": "x" * 2**20}]
        clock.now += 310
        assert await keys.find("three") is None
        assert await keys.find("one") is not None


async def test_f2_keys_open_nothing_when_the_issuer_cannot_be_asked_for_an_hour(jwks: str) -> None:
    """F2: it may have revoked them all meanwhile; when it answers again they open."""
    clock = Clock()
    keys = KeySet(jwks, clock)
    assert await keys.find("one") is not None
    keys.url, minute = "http://127.0.0.1:9/gone", 60
    for _ in range(59):
        clock.now += minute
        assert await keys.find("one") is not None
    clock.now += 2 * minute
    assert await keys.find("one") is None
    keys.url = jwks
    clock.now += minute
    assert await keys.find("one") is not None


@pytest.mark.parametrize(
    "unreadable",
    [
        {"kty": "OKP", "crv": "X25519", "kid": "agreement", "x": "AA"},
        {"kty": "AKP", "alg": "ML-DSA-65", "kid": "later", "pub": "AA"},
        {"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "encryption", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "!", "y": "!", "kid": "broken"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "EC"},
        {},
    ],
)
async def test_f2_a_key_that_nobody_here_can_read_keeps_no_revoked_one_alive(unreadable: dict[str, str]) -> None:
    """F2: a list with a key of another kind is still a list, and what is not in it any more opens nothing."""
    row = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "alg": "ES256"}
    published: dict[str, list[dict[str, str]]] = {"keys": [{**row, "kid": "one"}, {**row, "kid": "two"}]}

    async def keys_page(_request: Request) -> Response:
        return JSONResponse(published)

    clock = Clock()
    with running(Starlette(routes=[Route("/jwks", keys_page)]), free_socket()) as origin:
        keys = KeySet(f"{origin}/jwks", clock)
        assert await keys.find("one") is not None
        published["keys"] = [unreadable, {**row, "kid": "two"}]
        clock.now += 310
        assert await keys.find("one") is None
        assert await keys.find("two") is not None
        assert await keys.find("shared") is None
        published["keys"] = []
        clock.now += 310
        assert await keys.find("two") is None


async def opened(path: Path, redactor: Redactor | None = None, clock: Clock | None = None) -> TokenFile:
    """A file of tokens, read."""
    file = TokenFile(path, redactor or Redactor(), clock=clock or Clock())
    await file.load()
    return file


async def test_a_token_may_be_kept_as_its_hash(tmp_path: Path) -> None:
    """Then others may read the file, and it still opens."""
    path = write_tokens(tmp_path / "tokens", "# us", "", f"alice: sha256:{hashlib.sha256(ALICE.encode()).hexdigest()}")
    path.chmod(0o644)
    found = await (await opened(path)).verify_token(ALICE)
    assert found is not None
    assert found.client_id == "alice"
    assert ALICE not in repr(found)


@pytest.mark.skipif(os.name == "nt", reason="permissions there are not these bits")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
async def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Before anybody is let in."""
    path = write_tokens(tmp_path / "tokens")
    path.chmod(mode)
    with pytest.raises(RequestError, match="others"):
        await opened(path)


@pytest.mark.parametrize(
    "lines",
    [
        ("# nobody",),
        ("alice",),
        ("alice: short",),
        (f"alice: {ALICE}", f"alice: {BOB}"),
        (f"alice: {ALICE}", f"bob: {ALICE}"),
        (f"a b: {ALICE}",),
        (f"alice: {ALICE} {BOB}",),
    ],
)
async def test_a_file_that_makes_no_sense_is_refused_without_being_quoted(
    tmp_path: Path, lines: tuple[str, ...]
) -> None:
    """By the number of the line, because a line may hold a token."""
    with pytest.raises(RequestError) as caught:
        await opened(write_tokens(tmp_path / "tokens", *lines))
    assert ALICE not in str(caught.value)
    assert caught.value.hint


async def test_a_token_that_is_taken_out_opens_no_longer(tmp_path: Path) -> None:
    """Within a second, without a restart; a new one opens as soon, and is kept from being shown."""
    clock, redactor = Clock(), Redactor()
    path = write_tokens(tmp_path / "tokens", f"alice: {ALICE}")
    file = await opened(path, redactor, clock)
    assert await file.verify_token(ALICE) is not None
    write_tokens(path, f"bob: {BOB}")
    clock.now += 1
    assert await file.verify_token(ALICE) is None
    assert await file.verify_token(BOB) is not None
    assert BOB not in redactor.text(f"somebody sent {BOB}")


async def test_a_file_that_was_spoilt_lets_nobody_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rather than those of before, one of whom may just have been taken out; the log says why."""
    clock = Clock()
    path = write_tokens(tmp_path / "tokens")
    file = await opened(path, clock=clock)
    for spoil in (lambda: write_tokens(path, "alice"), path.unlink):
        spoil()
        clock.now += 1
        assert await file.verify_token(ALICE) is None
    assert "until the file of tokens is right" in caplog.text
    write_tokens(path)
    clock.now += 1
    assert await file.verify_token(ALICE) is not None


async def test_a_missing_file_is_told_at_the_start(tmp_path: Path, pictures: Path) -> None:
    """The server does not start open."""
    with pytest.raises(RequestError, match="cannot be read"):
        await open_access(settings_for(tmp_path, pictures, tokens_file=tmp_path / "none"))


@pytest.mark.parametrize("missing", ["oauth_issuer", "oauth_resource", "oauth_jwks_url"])
def test_half_of_an_oauth_configuration_is_an_error(tmp_path: Path, pictures: Path, missing: str) -> None:
    """It would protect nothing."""
    given = {"oauth_issuer": ISSUER, "oauth_resource": RESOURCE, "oauth_jwks_url": f"{ISSUER}/keys"}
    with pytest.raises(ValueError, match="belong together"):
        settings_for(tmp_path, pictures, **{name: url for name, url in given.items() if name != missing})


def test_secrets_are_found_however_they_are_spelt() -> None:
    """As they are, escaped, percent-encoded, in base64, and as a pair."""
    redactor = Redactor([SecretStr('key/with "marks"+1'), SecretStr("user:pass-word")])
    for text in (
        'key/with "marks"+1',
        'key/with \\"marks\\"+1',
        "key%2Fwith%20%22marks%22%2B1",
        "dXNlcjpwYXNzLXdvcmQ=",
    ):
        assert redactor.text(f"a {text} b").removesuffix("= b") in {"a (secret) b", "a (secret)"}
        assert b"(secret)" in redactor.body(f"a {text} b".encode())
