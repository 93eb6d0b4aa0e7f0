"""The user's own ONNX models: where their files are, what to do without one, and running them.

A model is loaded once per process, on the CPU, in the thread that asks. Importing this module is cheap: NumPy and
onnxruntime (which comes with the extra `controlnet-mcp[maps]`) are imported when the first map needs them.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from controlnet_mcp.foundation.errors import ImageError, RequestError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class MapModels:
    """Paths of ONNX files that the operator downloaded; nothing is ever downloaded by this program.

    Attributes:
        depth: A relative depth model, see `controlnet_mcp.images.maps.depth`.
        pose: A body pose model, see `controlnet_mcp.images.maps.pose`.
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


def model_unusable(kind: str, why: str) -> ImageError:
    """The refusal where a model file cannot be read or is not of the documented kind."""
    return ImageError(
        "not_configured",
        f"The {kind} model that is set cannot be used: {why}.",
        hint=f"Have the operator set CONTROLNET_MCP_{kind.upper()}_MODEL to the path of {_KNOWN[kind]}. Until then, "
        "pass a ready map with control_is_map=true.",
    )


Tensor: TypeAlias = "npt.NDArray[np.float32]"
"""What goes in and comes out: 32-bit floats of any shape."""


class _Port(Protocol):
    """What onnxruntime tells of an input or output; a dimension that is not fixed is a name or None."""

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
    """A model that takes one colour picture.

    Attributes:
        kind: `depth` or `pose`, for errors.
        session: Runs it; may be shared by threads.
        input_name: Of its one input, shape (1, 3, rows, columns).
        rows: Fixed rows of the input, None where any will do.
        columns: Likewise.
        outputs: How many it has.
    """

    kind: str
    session: _Session
    input_name: str
    rows: int | None
    columns: int | None
    outputs: int

    def run(self, picture: Tensor) -> list[Tensor]:
        """The outputs for a picture of shape (1, 3, rows, columns).

        Raises:
            ImageError: `not_configured` when the model fails on it.
        """
        import numpy as np

        try:
            outputs = self.session.run(None, {self.input_name: picture})
        except Exception as error:  # onnxruntime's errors have no common base but this
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
            _loaded[key] = _load(kind, path)
        return _loaded[key]


def _load(kind: str, path: Path) -> Model:
    """The model in a file, not remembered; raises as `open_model`."""
    try:
        import onnxruntime  # pyright: ignore[reportMissingTypeStubs]  # it ships none
    except ImportError as error:
        raise RequestError(
            "not_configured",
            "A model file is set, but the package that runs it (onnxruntime) is not installed.",
            hint='Have the operator run: pip install "controlnet-mcp[maps]", and restart this server. Until then, pass '
            "a ready map with control_is_map=true.",
        ) from error
    try:
        session = cast("_Session", onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]))
        (port,) = session.get_inputs()
    except Exception as error:  # as above; ValueError for several inputs
        raise model_unusable(kind, "its file holds no ONNX model with one input") from error
    sides = [side if isinstance(side, int) else None for side in port.shape]
    match sides:
        case [None | 1, 3, rows, columns] if port.type == "tensor(float)":
            return Model(kind, session, port.name, rows, columns, len(session.get_outputs()))
        case _:
            raise model_unusable(kind, "its input is not a picture of shape (1, 3, rows, columns) in 32-bit floats")
