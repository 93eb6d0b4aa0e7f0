"""Modalities by the names that people know from elsewhere, with weights as they write them."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.modalities import ALIASES, MODALITIES, read_name
from controlnet_mcp.tools.list_modalities import ModalityList
from tests.support.mcp_session import Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

NAMES: dict[str, str] = {
    "canny": "controlnet_canny | control_v11p_sd15_canny | control_v11p_sd15_canny [d14c016b] | sai_xl_canny_256lora | "
    "CannyEdgePreprocessor | canny_edge_detection | CannyDetector | PyraCanny | diffusers/controlnet-canny-sdxl-1.0 | "
    "InstantX/FLUX.1-dev-Controlnet-Canny | t2i-adapter-canny-sdxl-1.0 | 边缘 | 硬边缘检测 | Canny边缘检测",
    "depth": "depth_anything_v2 | depth_midas | depth_leres++ | control_v11f1p_sd15_depth | diffusers_xl_depth_full | "
    "DepthAnythingV2Preprocessor | Zoe_DepthAnythingPreprocessor | LeReS-DepthMapPreprocessor | DepthMap | 深度图 | "
    "depth_anything_depth_estimation | black-forest-labs/FLUX.1-Depth-dev | t2iadapter_zoedepth_sd15v1",
    "pose": "dw_openpose_full | openpose_face | openpose_hand | control_v11p_sd15_openpose | animal_openpose | "
    "thibaud_xl_openpose | DWPreprocessor | OpenposeDetector | t2iadapter_keypose_sd14v1 | 姿态 | "
    "OpenPose 姿态 | 骨骼图",
    "softedge": "softedge_hed | softedge_pidisafe | hed_safe | control_sd15_hed | HEDPreprocessor | "
    "hed_edge_detection | pidi_edge_detection | XLabs-AI/flux-controlnet-hed-v3 | soft edges | 软边缘",
    "scribble": "scribble_hed | scribble_pidinet | scribble_xdog | control_v11p_sd15_scribble | "
    "FakeScribblePreprocessor | Scribble_XDoG_Preprocessor | 涂鸦 | 塗鴉",
    "lineart": "lineart_standard (from white bg & black line) | control_v11p_sd15s2_lineart_anime | 线稿 | "
    "noobaiXLControlnet_epsLineartAnime | AnimeLineArtPreprocessor | "
    "AnyLineArtPreprocessor_aux | lineart_edge_detection",
    "normal": "normal_bae | normal_midas | control_v11p_sd15_normalbae | MiDaS-NormalMapPreprocessor | "
    "NormalBaeDetector | Flux.1-dev-Controlnet-Surface-Normals | 法线贴图",
    "seg": "seg_ofade20k | control_v11p_sd15_seg | OneFormer-ADE20K-SemSegPreprocessor | semantic segmentation | "
    "AnimeFace_SemSegPreprocessor | 语义分割",
    "mlsd": "M-LSDPreprocessor | control_v11p_sd15_mlsd | 直线检测",
    "tile": "tile_resample | tile_colorfix+sharp | control_v11f1e_sd15_tile | TilePreprocessor | 分块",
    "inpaint": "inpaint_only | inpaint_only+lama | inpaint_global_harmonious | control_v11p_sd15_inpaint | 局部重绘",
    "gray": "recolor_luminance | recolor_intensity | ImageLuminanceDetector | 重上色",
    "shuffle": "control_v11e_sd15_shuffle | content_shuffle | ShufflePreprocessor | 洗牌",
    "ip-adapter": "ip-adapter_clip_sd15 | ip-adapter-auto | ip-adapter_face_id_plus | ip-adapter-plus-face_sd15",
    "instant-id": "instant_id_face_keypoints | ip_adapter_instant_id_sdxl",
    "face": "mediapipe_face | openpose_faceonly | MediaPipe-FaceMeshPreprocessor | 人脸",
    "illusion": "control_v1p_sd15_qrcode_monster | qr code | 二维码",
    "blur": "blur_gaussian | kohya_controllllite_xl_blur | 模糊",
    "reference": "reference_only | reference_adain+attn | 参考",
    "sketch": "t2ia_sketch_pidi | t2i-adapter-sketch-sdxl-1.0 | hand-drawn sketch | 草图",
    "color-grid": "t2iadapter_color_sd14v1 | color_map",
    "t2i-adapter": "t2iadapter_style_sd14v1 | t2ia_style_clipvision",
}
"""Names of preprocessors, models and nodes by the modality that they are for: sd-webui-controlnet, Forge, ComfyUI,
InvokeAI, controlnet_aux, models on Hugging Face, and Chinese words."""


async def controls_and_notices(session: Session, asked: JsonValue) -> tuple[list[tuple[str, float]], list[str]]:
    """The modalities with their weights that a dry run would send, and what is said of how their names were read."""
    shown = json.loads((await session.generate(modality=asked, dry_run=True)).text)
    controls = [(row["modality"], row["weight"]) for row in shown["request"]["json"]["controls"]]
    return controls, [row["detail"] for row in shown["warnings"] if row["feature"] == "modality"]


@pytest.mark.parametrize("modality", NAMES)
async def test_the_known_word_in_a_name_is_taken(session: Session, modality: str) -> None:
    """C2: names of preprocessors, models and nodes, and Chinese words; a notice says how the name was read."""
    for name in NAMES[modality].split(" | "):
        controls, told = await controls_and_notices(session, name)
        assert controls == [(modality, 1.0)], name
        assert len(told) == 1, name
        assert f"read as {modality}" in told[0]


async def test_other_spellings_of_a_name_are_the_name(session: Session) -> None:
    """C2: case, quotes, spaces and full width are no reason for a notice."""
    full_width = "".join(chr(ord(letter) + 0xFEE0) for letter in "canny")
    for name in ("CANNY", '"canny"', "`canny`", "**canny**", "canny.", full_width):
        assert await controls_and_notices(session, name) == ([("canny", 1.0)], []), name
    for name in ("Depth Map", "depth_map", "depth-map"):
        assert await controls_and_notices(session, name) == ([("depth", 1.0)], []), name


HALF = (
    *("canny:0.5", "canny=0.5", "canny (0.5)", "canny(0.5)", "(canny:0.5)", "canny: 50%", "canny@0.5", "canny 0.5"),
    *(
        "canny weight 0.5",
        "canny (weight=0.5)",
        "canny:0,5",
        "CANNY:.5",
        "canny\uff1a0.5",
        "control_v11p_sd15_canny=0.5",
    ),
    *("canny-0.5", "canny_0.5", "canny~0.5", "0.5 canny", "<canny:0.5>", "ControlNet: canny (0.5)", "type=canny=0.5"),
    *('{"canny": 0.5}', '[{"modality": "canny", "weight": 0.5}]', "['canny:0.5']"),
)
BOTH = (
    *("canny,depth", "canny;depth", "canny\uff1bdepth", "canny\uff0cdepth", "canny、depth", "canny|depth"),
    *(
        "canny\ndepth",
        "canny+depth",
        "canny & depth",
        "canny and depth",
        "canny和depth",
        '["canny", "depth"]',
        "['canny', 'depth']",
    ),
)
WEIGHTED: list[tuple[JsonValue, list[tuple[str, float]]]] = [
    *((text, [("canny", 0.5)]) for text in HALF),
    *((text, [("canny", 1.0), ("depth", 1.0)]) for text in BOTH),
    ("canny:0,6,depth:0,4", [("canny", 0.6), ("depth", 0.4)]),
    ("canny (0.6), depth (0.4)", [("canny", 0.6), ("depth", 0.4)]),
    ('["canny"]', [("canny", 1.0)]),
    (["canny"], [("canny", 1.0)]),
    (["canny:0.5", "depth"], [("canny", 0.5), ("depth", 1.0)]),
    ({"canny": 0.5, "depth": 1}, [("canny", 0.5), ("depth", 1.0)]),
    ([{"type": "canny", "strength": 0.5}], [("canny", 0.5)]),
    ("ControlNet Canny SD 1.5", [("canny", 1.0)]),
]


async def test_weights_and_lists_are_read_as_they_are_written(session: Session) -> None:
    """C2: `canny=0.5`, `canny (0.5)`, `["canny"]`, `canny;depth`, JSON."""
    for asked, understood in WEIGHTED:
        controls, _ = await controls_and_notices(session, asked)
        assert controls == understood, asked


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("Tile/Blur", {"tile", "blur"}),
        ("Scribble/Sketch", {"scribble", "sketch"}),
        ("canny/lineart/anime_lineart/mlsd", {"canny", "lineart", "mlsd"}),
        ("control_v1p_sd15_brightness", {"gray", "illusion"}),
        ("canny depth", {"canny", "depth"}),
    ],
)
async def test_an_ambiguous_name_is_refused_with_what_it_can_mean(
    session: Session, name: str, suggested: set[str]
) -> None:
    """C2: nothing is guessed that costs money."""
    error = (await session.generate(modality=name)).error
    assert error.code == "invalid_request"
    assert {word.strip(",.") for word in error.message.partition("can mean")[2].split()} - {"or"} == suggested


@pytest.mark.parametrize(
    "name",
    ["cany", "depht", "opnpose", "poze", "densepose", "Segmind", "surface", "threshold", "xinsir/union"],
)
async def test_suggestions_are_canonical_names(session: Session, name: str) -> None:
    """C2: never an alias, and never a word that only looks alike inside another."""
    error = (await session.generate(modality=name)).error
    assert error.code == "invalid_request"
    suggestions = error.hint.partition("Known:")[0].removeprefix("Did you mean ").rstrip("? ")
    assert set(filter(None, suggestions.split(" or "))) <= set(MODALITIES)


async def test_the_other_tools_and_further_controls_understand_names_too(session: Session) -> None:
    """C2: `extra_controls`, `extract_control_map` and `list_modalities`."""
    photo = str(session.pictures / "photo.png")
    extra: JsonValue = [{"modality": "control_v11p_sd15_lineart:0.4", "image": photo}]
    shown = json.loads((await session.generate(extra_controls=extra, dry_run=True)).text)
    assert [(row["modality"], row["weight"]) for row in shown["request"]["json"]["controls"]][1:] == [("lineart", 0.4)]
    assert any("lineart" in row["detail"] for row in shown["warnings"] if row["feature"] == "modality")
    made = json.loads((await session.call("extract_control_map", image=photo, modality="CannyEdgePreprocessor")).text)
    assert made["modality"] == "canny"
    assert any("CannyEdgePreprocessor" in note for note in made["notes"])
    for name, rows in (("dw_openpose_full", ["pose"]), ("all", [*MODALITIES])):
        found = ModalityList.model_validate_json((await session.call("list_modalities", modality=name)).text)
        assert [row.name for row in found.modalities] == rows


WORDS = st.sampled_from([*ALIASES, "dw", "zoe", "v11p", "sd15", "control", "深度"]) | st.text(max_size=12)


@given(WORDS, st.text(max_size=60))
def test_any_name_is_read_or_refused(word: str, rest: str) -> None:
    """C2: no other error, and what is read is a modality."""
    for name in (word, f"{word}_{rest}", f"{rest}{word}", rest):
        with suppress(RequestError):
            assert read_name(name).modality.name in MODALITIES


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_is_read_as_it_was(alias: str) -> None:
    """C2: words inside longer names change nothing of the names that were known before."""
    found = read_name(alias)
    assert (found.modality.name, found.exact) == (ALIASES[alias], True)
