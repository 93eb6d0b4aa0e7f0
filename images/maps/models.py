"""Where the user's own model files are: what they make possible, and what to do where there is none."""

from dataclasses import dataclass
from pathlib import Path

from controlnet_mcp.foundation.errors import ImageError, RequestError


@dataclass(frozen=True, slots=True)
class MapModels:
    """Paths of ONNX files that the operator downloaded; nothing is ever downloaded by this program.

    Attributes:
        depth: A relative depth model, see `controlnet_mcp.images.maps.depth`.
        pose: A body pose model, see `controlnet_mcp.images.maps.people`.
    """

    depth: Path | None = None
    pose: Path | None = None

    def makes(self, modality: str) -> bool:
        """Whether a map of this canonical name can be made of a photo with these."""
        wanted = WANTED.get(modality)
        return wanted is not None and getattr(self, wanted) is not None


WANTED = {"depth": "depth", "normal": "depth", "pose": "pose"}
"""Canonical modality to the model that makes its map of a photo."""

NO_MODELS = MapModels()

_KNOWN = {
    "depth": "a relative depth model as ONNX, for instance Depth-Anything-V2-Small or MiDaS v2.1 small",
    "pose": "a body pose model as ONNX, for instance RTMO or an exported YOLO pose model",
}


def model_missing(modality: str) -> RequestError:
    """The refusal of a map whose model is not set."""
    kind = WANTED[modality]
    ready = "pass a depth map, " if modality == "normal" else ""
    return RequestError(
        "unsupported",
        f"A {modality} map of a photo needs a model's trained weights, and no {kind} model is set here.",
        hint=f"Either {ready}pass a ready map with control_is_map=true or use a provider that preprocesses the picture "
        f"itself; or have the operator install controlnet-mcp[maps], download {_KNOWN[kind]}, and set "
        f"CONTROLNET_MCP_{kind.upper()}_MODEL to its path.",
    )


def runtime_missing() -> RequestError:
    """The refusal where a model is set and the extra is not installed."""
    return RequestError(
        "not_configured",
        "A model file is set, but the package that runs it (onnxruntime) is not installed.",
        hint='Have the operator run: pip install "controlnet-mcp[maps]", and restart this server. Until then, pass a '
        "ready map with control_is_map=true.",
    )


def model_unusable(kind: str, why: str) -> ImageError:
    """The refusal where a model file cannot be read or is not of the documented kind."""
    return ImageError(
        "not_configured",
        f"The {kind} model that is set cannot be used: {why}.",
        hint=f"Have the operator set CONTROLNET_MCP_{kind.upper()}_MODEL to the path of {_KNOWN[kind]}. Until then, "
        "pass a ready map with control_is_map=true.",
    )
