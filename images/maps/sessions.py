"""Running the user's ONNX models: loaded once per process, on the CPU, in the thread that asks.

onnxruntime is imported here alone, when the first map needs it; it comes with the extra `controlnet-mcp[maps]`.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.models import model_unusable, runtime_missing

Tensor: TypeAlias = npt.NDArray[np.float32]
"""What goes in and comes out: 32-bit floats of any shape."""

_COLOUR_PICTURE = 4
"""Dimensions of a batch of colour pictures: one, three, rows, columns."""


class _Port(Protocol):
    """What onnxruntime tells of an input or output; a dimension that is not fixed is a name or None."""

    name: str
    shape: Sequence[int | str | None]
    type: str


class _Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that is used."""

    def get_inputs(self) -> Sequence[_Port]: ...

    def get_outputs(self) -> Sequence[_Port]: ...

    def run(self, output_names: None, input_feed: dict[str, Tensor]) -> Sequence[npt.NDArray[np.generic]]: ...


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
    try:
        import onnxruntime  # pyright: ignore[reportMissingTypeStubs]  # it ships none
    except ImportError as error:
        raise runtime_missing() from error
    try:
        session = cast("_Session", onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]))
        (port,) = session.get_inputs()
    except Exception as error:  # as above; ValueError for several inputs
        raise model_unusable(kind, "its file holds no ONNX model with one input") from error
    sides = [side if isinstance(side, int) else None for side in port.shape]
    if len(sides) != _COLOUR_PICTURE or sides[0] not in {1, None} or sides[1] != 3 or port.type != "tensor(float)":  # noqa: PLR2004  # channels
        raise model_unusable(kind, "its input is not a picture of shape (1, 3, rows, columns) in 32-bit floats")
    return Model(kind, session, port.name, sides[2], sides[3], len(session.get_outputs()))
