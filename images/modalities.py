"""Modalities: canonical names, their aliases, and the structure of each one's map.

The names are the union of the tables of the five hosted providers' pages (Scenario, Segmind, zhiqite, ModelsLab,
WaveSpeed). A provider's own spelling lives in its adapter.
"""

import difflib
import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, TypeAlias

from controlnet_mcp.foundation.errors import RequestError

Structure: TypeAlias = Literal["lines", "photo", "depth", "normal", "skeleton", "classes"]
"""Form of a control map: white lines on black, a plain (possibly degraded) picture, near-is-bright depth, surface
normals as RGB, limbs as coloured lines on black, or one flat colour per class."""

MapKind: TypeAlias = Literal["edge", "sketch", "depth", "skeleton", "segmentation"]
"""Control maps that are recognised by looking: thin edges, softer or thicker light lines on black, smooth grey depth,
coloured limbs on black, flat colours of a known palette. (Normal maps look like coloured pictures.)"""

Appearance: TypeAlias = Literal["blank", "drawing", "picture"] | MapKind

STRUCTURES: dict[MapKind, Structure] = {
    "edge": "lines",
    "sketch": "lines",
    "depth": "depth",
    "skeleton": "skeleton",
    "segmentation": "classes",
}
"""Kind of map to the structure that it carries."""


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of structure that can be taken from a picture: its canonical name and the form of its map.

    The summary says what it keeps, in a few words for a language model; aliases are names that resolve to this one;
    where it is `approximate`, our map only approximates the learned reference detector.
    """

    name: str
    structure: Structure
    summary: str
    aliases: tuple[str, ...] = ()
    approximate: bool = field(default=False, kw_only=True)


_ROWS = (
    Modality("canny", "lines", "edges of a photo or drawing", ("edge", "edges")),
    Modality("scribble", "lines", "loose thick lines", ("xdog", "doodle")),
    Modality("sketch", "lines", "a hand drawing", ("drawing",)),
    Modality("lineart", "lines", "clean ink lines", ("lines", "line-art")),
    Modality("softedge", "lines", "soft contours", ("hed", "soft-edge", "pidinet"), approximate=True),
    Modality("mlsd", "lines", "straight lines of buildings and rooms", ("straight-lines", "m-lsd"), approximate=True),
    Modality("tile", "photo", "colours and layout at low detail", ("tiles",)),
    Modality("blur", "photo", "a blurred picture made sharp", ("deblur", "unblur")),
    Modality(
        "gray",
        "photo",
        "a grey picture coloured",
        ("grey", "recolor", "recolour", "grayscale", "colorize", "colourise"),
    ),
    Modality("low-quality", "photo", "a poor picture restored", ("low_quality", "lowquality", "restore")),
    Modality("shuffle", "photo", "colours without layout"),
    Modality(
        "color-grid",
        "photo",
        "colours in coarse squares",
        ("colour-grid", "color", "colour", "palette", "t2ia-color-grid"),
    ),
    Modality("depth", "depth", "near and far", ("depth-map", "midas", "zoe")),
    Modality("normal", "normal", "surface directions", ("normal-map", "normalmap", "bae")),
    Modality("pose", "skeleton", "body pose", ("openpose", "dwpose", "skeleton", "dw-pose")),
    Modality("face", "skeleton", "face landmarks", ("face-detector", "face_detector")),
    Modality("seg", "classes", "regions by class (ADE20K colours)", ("segmentation", "segment", "semantic")),
    Modality("illusion", "photo", "a pattern hidden in light and shadow", ("qrcode",)),
    Modality("inpaint", "photo", "all but the masked part", ("inpainting", "repaint")),
    Modality("reference", "photo", "look and layout of a picture"),
    Modality("ip-adapter", "photo", "style of a picture", ("ip_adapter", "ipadapter")),
    Modality("instant-id", "photo", "a person's identity", ("instantid", "instant_id")),
    Modality("t2i-adapter", "photo", "adapter-guided layout", ("t2i_adapter", "t2iadapter")),
    Modality("aesthetic", "photo", "composition of a picture", ("aesthetic-controlnet", "aesthetic_controlnet")),
)
MODALITIES: dict[str, Modality] = {row.name: row for row in _ROWS}
"""Canonical name to modality, in the order in which they are listed."""

ALIASES: dict[str, str] = {alias: row.name for row in MODALITIES.values() for alias in (row.name, *row.aliases)}
"""Every accepted spelling in lower case to the canonical name."""

_SPECIFIC: tuple[dict[str, str], ...] = (
    {"t2i-adapter": "t2ia t2iadapter coadapter"},
    {
        "canny": "edge edges 边缘 邊緣 エッジ",
        "lineart": "lines",
        "sketch": "drawing",
        "color-grid": "color colour palette",
        "gray": "luminance intensity",
        "face": "face faces",
    },
    {
        "softedge": "hed pidi pidinet teed ted",
        "scribble": "xdog",
        "depth": "midas zoe leres marigold dpt",
        "normal": "bae dsine",
        "pose": "dw",
        "seg": "ade20k ofade20k ufade20k ofcoco oneformer uniformer sam",
    },
    {
        "canny": "canny 硬边缘 硬邊緣",
        "scribble": "scribbles 涂鸦 塗鴉 落書き",
        "sketch": "草图 草圖 素描 手绘 手繪 スケッチ",
        "lineart": "lineart anyline anylineart mistoline 线稿 線稿 线条 線條 線画",
        "softedge": "softedges 软边缘 軟邊緣",
        "mlsd": "straightline 直线 直線",
        "tile": "分块 分塊 平铺 平鋪 瓦片",
        "blur": "blurry 模糊",
        "gray": "greyscale 灰度 灰階 上色 着色 brightness illumination",
        "low-quality": "低质量 低質量 低画质",
        "shuffle": "洗牌",
        "depth": "深度",
        "normal": "normals 法线 法線",
        "pose": "poses dwopenpose keypose 姿态 姿態 姿势 姿勢 骨骼 骨架 ポーズ",
        "face": "facemesh 人脸 人臉 面部",
        "seg": "seg semseg 分割 语义",
        "illusion": "qr illusions brightness illumination 二维码 二維碼 光影",
        "inpaint": "outpaint 重绘 重繪",
        "reference": "参考 參考",
    },
    {"ip-adapter": "ipadapter faceid imageprompt", "face": "faceonly"},
    {"instant-id": "instantid"},
)
"""Words inside the names of preprocessors, models and nodes, by canonical name; those of a later row count for more: a
structure more than the detector that draws it, a detector more than a general word. All aliases are such words, too.

From the names of sd-webui-controlnet, Forge, ComfyUI's comfyui_controlnet_aux, controlnet_aux, InvokeAI, the ControlNet
models on Hugging Face, and the Chinese names of their interfaces.
"""
_DETECTORS = 2
"""Row of `_SPECIFIC` with the detectors."""
_PHRASES = (*(alias for alias in ALIASES if "-" in alias), "face-id", "face-only", "image-prompt", "open-pose")
"""Words that are also written as two."""
_GLUE = (
    "preprocessor processor detector detection estimation image map maps mesh model controlnet control net lora lite "
    "anything anime any manga fake safe full body animal pyra standard content diffusion resample sdxl sd xl flux fp"
)
"""Words that are written together with others and mean nothing here."""
_EASTERN = "\u3040-\u30ff\u3400-\u9fff"
_LONGEST_NAME = 200


@cache
def _vocabulary() -> tuple[dict[str, dict[str, int]], re.Pattern[str]]:
    """Each word with its canonical names and the row of each, and a pattern of all parts that a name can have."""
    words: dict[str, dict[str, int]] = {}
    for alias, name in ALIASES.items():
        words.setdefault(re.sub("[-_]", "", alias), {})[name] = _DETECTORS + 1
    for row, names in enumerate(_SPECIFIC):
        for name, text in names.items():
            for word in text.split():
                words.setdefault(word, {})[name] = row
    longest_first = sorted([*words, *_GLUE.split()], key=len, reverse=True)
    return words, re.compile(f"{'|'.join(map(re.escape, longest_first))}|v?[0-9]+(?:[a-z](?![a-z]))?")


@dataclass(frozen=True, slots=True)
class NamedModality:
    """A modality by the name that somebody gave it.

    Attributes:
        word: The detector or alias that the name says beside the canonical name, such as `hed`; often empty.
        exact: Whether the name is one of its own; any other only contains a word for it.
    """

    modality: Modality
    word: str = ""
    exact: bool = True


def resolve(name: str) -> Modality:
    """Find a modality by any of its names; raises as `read_name`."""
    return read_name(name).modality


def is_own_name(name: str) -> bool:
    """Tell whether a name is a modality's own, and no longer one with a word for it inside."""
    return _key(name) in ALIASES


def _key(name: str) -> str:
    """A name as the table has it: in lower case, with hyphens and without quotes."""
    key = unicodedata.normalize("NFKC", name.strip()[:_LONGEST_NAME]).casefold().strip(" \"'`*()[]{}<>")
    return re.sub(r"[\s_.-]+", "-", key).strip("-")


def read_name(name: str) -> NamedModality:
    """Find a modality by its canonical name or an alias, or by the known word in the name of a preprocessor or model.

    In any case, in quotes, with spaces, dots or underscores for hyphens.

    Raises:
        RequestError: `invalid_request` when the name has no known word, or words for several modalities.
    """
    told, key = name.strip()[:40], _key(name)
    if key in ALIASES:
        canonical = ALIASES[key]
        return NamedModality(MODALITIES[canonical], "" if key == canonical else key)
    words = _words_in(key) or _words_in(re.sub("(?<=[a-z])(?=[A-Z])", "-", name[:_LONGEST_NAME]).lower())
    most = max((row for rows in words.values() for row in rows.values()), default=0)
    found = list(dict.fromkeys(name for rows in words.values() for name, row in rows.items() if row == most))
    if len(found) > 1:
        raise RequestError(
            "invalid_request",
            f"The modality {told!r} can mean {' or '.join(found)}.",
            hint="Use one of these names, or several with commas between them.",
        )
    if not found:
        near = difflib.get_close_matches(key, MODALITIES, n=2, cutoff=0.6)
        near = near or [ALIASES[alias] for alias in difflib.get_close_matches(key, ALIASES, n=1, cutoff=0.7)]
        nearest = f"Did you mean {' or '.join(near)}? " if near else ""
        raise RequestError(
            "invalid_request",
            f"There is no modality called {told!r}.",
            hint=f"{nearest}Known: {', '.join(MODALITIES)}.",
        )
    detector = next((word for word, rows in words.items() if rows.get(found[0]) == _DETECTORS), "")
    return NamedModality(MODALITIES[found[0]], detector, exact=False)


def _words_in(key: str) -> dict[str, dict[str, int]]:
    """The known words of a name: those that its parts consist of, and eastern ones wherever they stand."""
    for phrase in _PHRASES:
        key = key.replace(phrase, phrase.replace("-", ""))
    words, part = _vocabulary()
    found: dict[str, dict[str, int]] = {}
    for chunk in re.findall(f"[{_EASTERN}]+|[a-z0-9]+", key):
        parts = part.findall(chunk)
        if "".join(parts) == chunk or not chunk.isascii():
            found |= {word: words[word] for word in parts if word in words}
    return found
