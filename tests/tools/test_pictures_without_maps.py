"""Modalities that have no control map: a picture that is handed in as one must still guide."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from pydantic import JsonValue

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.providers.zhiqite.adapter import FAMILIES, ZhiqiteProvider
from tests.support.hosted_providers import serving_file
from tests.support.mcp_session import Session, open_session, settings_for

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"
WITHOUT_MAPS = [name for name in FAMILIES if MODALITIES[name].structure == "photo"]
KEYS = {
    "ZHIQITE_ACCESS_KEY_ID": "i" * 20,
    "ZHIQITE_ACCESS_KEY_SECRET": "s" * 20,
    "ZHIQITE_BASE_URL": NOBODY,
    "MODELSLAB_API_KEY": "k" * 20,
    "MODELSLAB_BASE_URL": NOBODY,
}


@pytest.fixture
async def wired(tmp_path: Path, pictures: Path) -> AsyncGenerator[Session]:
    """A server with keys of providers that nobody answers for."""
    more = {"trusted_hosts": "127.0.0.1", "public_url": "https://pictures.example"}
    async with open_session(settings_for(tmp_path / "data", pictures, keys=KEYS, **more)) as opened:
        yield opened


@pytest.mark.parametrize("modality", FAMILIES)
async def test_a_picture_of_a_modality_without_maps_is_prepared(wired: Session, modality: str) -> None:
    """F6: zhiqite is told to use its preprocessor, and a warning says that the picture is no map."""
    with serving_file(wired.pictures / "sketch.png") as origin:
        link = f"{origin}/picture.png"
        extra: JsonValue = [{"modality": modality, "image": link, "is_map": True}]
        main = "depth" if modality == "canny" else "canny"
        asked: list[dict[str, JsonValue]] = [
            {"modality": modality, "control_is_map": True},
            {"modality": main, "extra_controls": extra},
        ]
        for more in asked:
            reply = await wired.generate(provider="zhiqite", control_image=link, dry_run=True, **more)
            shown = json.loads(reply.text)
            unit = shown["request"]["json"]["alwayson_scripts"]["controlnet"]["args"][-1]
            told = [row["detail"] for row in shown["warnings"] if row["feature"] == "control_is_map"]
            is_without = modality in WITHOUT_MAPS
            assert unit["module"] == (FAMILIES[modality].module if is_without else "none")
            assert len(told) == is_without
            assert modality in "".join(told) or not is_without


def test_the_families_without_maps_are_those_that_were_reported() -> None:
    """F6: Reference, IP-Adapter, Instant-ID, Shuffle, Recolor and T2I-Adapter are among them."""
    names = {ZhiqiteProvider.capabilities.modalities[name].native for name in WITHOUT_MAPS}
    assert names >= {"Reference", "IP-Adapter", "Instant-ID", "Shuffle", "Recolor", "T2I-Adapter"}


@pytest.mark.parametrize(
    ("provider", "modality"), [("modelslab", "shuffle"), ("modelslab", "tile"), ("draft", "reference")]
)
async def test_no_other_provider_takes_it_for_a_map_either(wired: Session, provider: str, modality: str) -> None:
    """F6: the same for every modality without a map, at every provider."""
    shown: list[dict[str, JsonValue]] = []
    for is_map in (True, False):
        asked: dict[str, JsonValue] = {"provider": provider, "modality": modality, "control_is_map": is_map, "seed": 1}
        shown.append(json.loads((await wired.generate(**asked, dry_run=True)).text))
    assert shown[0]["request"] == shown[1]["request"]
    told = ["control_is_map" in json.dumps(row["warnings"]) for row in shown]
    assert told == [True, False]


async def test_a_made_picture_without_a_map_is_not_called_one(session: Session) -> None:
    """F6: what `extract_control_map` proposes next does not say that a picture is a map where there is none."""
    photo = str(session.pictures / "photo.png")
    for modality, is_map in (("canny", True), ("shuffle", False), ("tile", False)):
        made = json.loads((await session.call("extract_control_map", image=photo, modality=modality)).text)
        assert ("control_is_map" in made["next"]) == is_map


@pytest.mark.parametrize(
    ("modality", "sent"),
    [("hed", "hed"), ("HED:0.7", "hed"), ("softedge_hed", "hed"), ("softedge", "softedge"), ("pidinet", "softedge")],
)
async def test_hed_is_sent_as_hed(wired: Session, modality: str, sent: str) -> None:
    """F7: ModelsLab has `hed` beside `softedge`; what was asked for is sent."""
    for asked, expected in ((modality, sent), (f"canny,{modality}", f"canny,{sent}")):
        shown = json.loads((await wired.generate(provider="modelslab", modality=asked, dry_run=True)).text)
        assert shown["request"]["json"]["controlnet_model"] == expected
        assert shown["request"]["json"]["controlnet_type"] == expected.partition(",")[0]
