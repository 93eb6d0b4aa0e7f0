"""Control maps: their parameters, and the user's own ONNX models; `controlnet_mcp.images.maps.recipes` makes the maps.

Most maps need no trained weights. A model is loaded once per process, on the CPU, in the thread that asks. Importing
this package is cheap: NumPy and onnxruntime (which comes with the extra `controlnet-mcp[maps]`) come with the first map
that needs them.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field

from controlnet_mcp.foundation.errors import ImageError, RequestError
from controlnet_mcp.images.modalities import Modality

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

KNOBS: dict[str, tuple[str, ...]] = {
    "canny": ("thresholds", "low_threshold", "high_threshold"),
    "scribble": ("threshold", "invert"),
    "sketch": ("invert",),
    "lineart": ("gaussian_sigma_pixels", "intensity_threshold", "invert"),
    "softedge": ("invert",),
    "mlsd": ("minimum_length",),
    "tile": ("factor",),
    "blur": ("sigma_pixels",),
    "gray": ("gamma",),
    "low-quality": ("factor", "quality"),
    "shuffle": ("seed",),
    "color-grid": ("cell_pixels",),
    "depth": (),
    "normal": ("background_threshold", "flatness", "red"),
    "pose": ("minimum_confidence", "stick_pixels"),
}
"""Canonical modality to the names of its knobs, for every map that can be made here."""


class MapParameters(BaseModel):
    """Parameters of a control map. A knob that is set must be one that the modality has (see `KNOBS`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    thresholds: Annotated[
        Literal["standard", "auto"],
        Field(description="canny: standard, or auto: both thresholds are chosen from the picture's own gradients."),
    ] = "standard"
    low_threshold: Annotated[
        int, Field(ge=1, le=255, description="canny: gradient from which an edge goes on, in levels, 1 to 255.")
    ] = 100
    high_threshold: Annotated[
        int, Field(ge=1, le=255, description="canny: gradient from which an edge begins, in levels, 1 to 255.")
    ] = 200
    threshold: Annotated[
        int,
        Field(ge=1, le=255, description="scribble: how dark a line must be, in levels, 1 to 255; less is more lines."),
    ] = 32
    gaussian_sigma_pixels: Annotated[
        float, Field(ge=0.5, le=64, description="lineart: sigma of the Gaussian around a line in pixels, 0.5 to 64.")
    ] = 6.0
    intensity_threshold: Annotated[
        int, Field(ge=0, le=255, description="lineart: weaker lines set no brightness, in levels, 0 to 255.")
    ] = 8
    invert: Annotated[
        Literal["auto", "yes", "no"],
        Field(
            description="scribble, sketch, lineart, softedge: auto tells drawings from photos by looking; yes: the "
            "picture is a drawing of dark lines on a light ground; no: it is not (sketch: its light lines are taken)."
        ),
    ] = "auto"
    minimum_length: Annotated[
        float,
        Field(ge=0, le=1, description="mlsd: shortest line kept, as a fraction of the shorter side, 0 to 1."),
    ] = 0.08
    factor: Annotated[
        float, Field(ge=1, le=16, description="tile, low-quality: how many times smaller the picture gets, 1 to 16.")
    ] = 4.0
    sigma_pixels: Annotated[
        float, Field(ge=0.01, le=64, description="blur: sigma of the Gaussian in pixels, 0.01 to 64.")
    ] = 9.0
    gamma: Annotated[
        float, Field(ge=0.1, le=2, description="gray: power of the brightness, 0.1 to 2; below 1 is lighter.")
    ] = 1.0
    quality: Annotated[int, Field(ge=1, le=95, description="low-quality: JPEG quality, 1 to 95.")] = 25
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="shuffle: which warp, 0 to 4294967295.")] = 0
    cell_pixels: Annotated[
        int, Field(ge=2, le=1024, description="color-grid: side of a square in pixels, 2 to 1024.")
    ] = 64
    background_threshold: Annotated[
        float,
        Field(ge=0, le=1, description="normal: depth below which it is flat background, as a fraction of the range."),
    ] = 0.1
    flatness: Annotated[
        float, Field(gt=0, le=1000, description="normal: weight of the direction to the viewer, above 0, to 1000.")
    ] = 6.283185307179586
    red: Annotated[
        Literal["left", "right"],
        Field(description="normal: where red grows: left as in ControlNet's annotator, right as in OpenGL."),
    ] = "left"
    minimum_confidence: Annotated[
        float, Field(ge=0, le=1, description="pose: persons and joints that are less certain are left out, 0 to 1.")
    ] = 0.3
    stick_pixels: Annotated[
        int, Field(ge=1, le=64, description="pose: half the width of a limb and radius of a joint in pixels, 1 to 64.")
    ] = 4


def knobs_of(modality: Modality, parameters: MapParameters) -> dict[str, float | int | str]:
    """The knobs that this map has with their values, defaults included.

    Raises:
        RequestError: `unsupported` for a map that no one can make here; `invalid_request` for a knob that was set and
            that this map does not have.
    """
    if modality.name not in KNOBS:
        raise RequestError(
            "unsupported",
            f"A {modality.name} map ({modality.summary}) cannot be computed here: it needs a model's trained weights.",
            hint="Pass a ready map with control_is_map=true, or use a provider that preprocesses the picture itself.",
        )
    names = KNOBS[modality.name]
    foreign = sorted(parameters.model_fields_set.difference(names))
    if foreign:
        raise RequestError(
            "invalid_request",
            f"The {modality.name} map has no {' and no '.join(foreign)}.",
            hint=f"Its knobs: {', '.join(names)}." if names else "It has no knobs: leave them all out.",
        )
    if parameters.thresholds == "auto" and parameters.model_fields_set & {"low_threshold", "high_threshold"}:
        raise RequestError(
            "invalid_request",
            "The thresholds of canny were both given and left to be chosen.",
            hint='Give low_threshold and high_threshold, or thresholds="auto", not both.',
        )
    # `thresholds` says how others are chosen, which are reported
    return {name: getattr(parameters, name) for name in names if name != "thresholds"}


@dataclass(frozen=True, slots=True)
class MapModels:
    """Paths of ONNX files that the operator downloaded; nothing is ever downloaded by this program.

    Their kinds: see `controlnet_mcp.images.maps.depth` and `controlnet_mcp.images.maps.pose`.
    """

    depth: Path | None = None
    pose: Path | None = None

    def makes(self, modality: str) -> bool:
        """Tell whether a map of this canonical name can be made of a photo with these, or needs no weights."""
        wanted = WANTED.get(modality)
        return modality in KNOBS and (wanted is None or getattr(self, wanted) is not None)

    def path_for(self, modality: str) -> Path:
        """The file of the model that makes the map of a photo.

        Raises:
            RequestError: `unsupported` when it is not set.
        """
        kind = WANTED[modality]
        path: Path | None = getattr(self, kind)
        if path is not None:
            return path
        ready = "pass a depth map, " if modality == "normal" else ""
        raise RequestError(
            "unsupported",
            f"A {modality} map of a photo needs a model's trained weights, and no {kind} model is set here.",
            hint=f"Either {ready}pass a ready map with control_is_map=true or use a provider that preprocesses the "
            "picture itself; or have the operator install controlnet-mcp[maps], download "
            f"{_KNOWN[kind]}, and set CONTROLNET_MCP_{kind.upper()}_MODEL to its path.",
        )


WANTED = {"depth": "depth", "normal": "depth", "pose": "pose"}
"""Canonical modality to the model that makes its map of a photo."""

NO_MODELS = MapModels()

_KNOWN = {
    "depth": "a relative depth model as ONNX, for instance Depth-Anything-V2-Small or MiDaS v2.1 small",
    "pose": "a body pose model as ONNX, for instance RTMO or an exported YOLO pose model",
}


def model_unusable(kind: str, why: str) -> ImageError:
    """The refusal where a model file cannot be read or is not of the documented kind."""
    return ImageError(
        "not_configured",
        f"The {kind} model that is set cannot be used: {why}.",
        hint=f"Have the operator set CONTROLNET_MCP_{kind.upper()}_MODEL to the path of {_KNOWN[kind]}. Until then, "
        "pass a ready map with control_is_map=true.",
    )


Tensor: TypeAlias = "npt.NDArray[np.float32]"
"""Input or output of a model: 32-bit floats of any shape."""


class _Port(Protocol):
    """Onnxruntime's description of an input or output; a dimension that is not fixed is a name or None."""

    name: str
    shape: Sequence[int | str | None]
    type: str


class _Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that is used."""

    def get_inputs(self) -> Sequence[_Port]: ...

    def get_outputs(self) -> Sequence[_Port]: ...

    def run(self, output_names: None, input_feed: dict[str, Tensor]) -> "Sequence[npt.NDArray[np.generic]]": ...


@dataclass(frozen=True, slots=True)
class Model:
    """A model that takes one colour picture; its kind is `depth` or `pose`, and threads may share its session.

    Its one input has the shape (1, 3, rows, columns); rows and columns are None where any will do. `outputs` is how
    many it has.
    """

    kind: str
    session: _Session
    input_name: str
    rows: int | None
    columns: int | None
    outputs: int

    @classmethod
    def load(cls, kind: str, path: Path) -> "Model":
        """Load the model in a file; raises as `open_model`."""
        try:
            import onnxruntime  # pyright: ignore[reportMissingTypeStubs]  # it ships none
        except ImportError as error:
            raise RequestError(
                "not_configured",
                "A model file is set, but the package that runs it (onnxruntime) is not installed.",
                hint='Have the operator run: pip install "controlnet-mcp[maps]", and restart this server. Until then, '
                "pass a ready map with control_is_map=true.",
            ) from error
        try:
            session = cast("_Session", onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]))
            (port,) = session.get_inputs()
        except Exception as error:  # onnxruntime's errors have no common base but this; ValueError for several inputs
            raise model_unusable(kind, "its file holds no ONNX model with one input") from error
        sides = [side if isinstance(side, int) else None for side in port.shape]
        match sides:
            case [None | 1, 3, rows, columns] if port.type == "tensor(float)":
                return cls(kind, session, port.name, rows, columns, len(session.get_outputs()))
            case _:
                raise model_unusable(kind, "its input is not a picture of shape (1, 3, rows, columns) in 32-bit floats")

    def run(self, picture: Tensor) -> list[Tensor]:
        """The outputs for a picture of shape (1, 3, rows, columns).

        Raises:
            ImageError: `not_configured` when the model fails on it.
        """
        import numpy as np

        try:
            outputs = self.session.run(None, {self.input_name: picture})
        except Exception as error:  # likewise
            raise model_unusable(self.kind, f"it fails on a picture of {picture.shape[2:]} pixels") from error
        return [np.asarray(output, dtype=np.float32) for output in outputs]


_loaded: dict[tuple[str, Path, int], Model] = {}
_loading = threading.Lock()


def open_model(kind: str, path: Path) -> Model:
    """The model in a file; a file that was replaced since is loaded again.

    Raises:
        RequestError: `not_configured` when onnxruntime is not installed.
        ImageError: `not_configured` when the file is missing or no model that takes one colour picture.
    """
    try:
        key = (kind, path, path.stat().st_mtime_ns)
    except OSError as error:
        raise model_unusable(kind, f"its file cannot be read ({error.strerror or 'no reason given'})") from error
    with _loading:  # two maps at once must not load half a gigabyte twice
        if key not in _loaded:
            for stale in [old for old in _loaded if old[:2] == key[:2]]:
                del _loaded[stale]
            _loaded[key] = Model.load(kind, path)
        return _loaded[key]
