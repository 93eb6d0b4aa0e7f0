"""Tiny ONNX models with the inputs and outputs of real ones; what they say follows from the picture by arithmetic."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]

OPSET = 17
IR_VERSION = 9


def write(path: Path, nodes: list[onnx.NodeProto], sides: Sequence[int | str], constants: Mapping[str, object]) -> Path:
    """Save a graph with one input called `picture`; its outputs are those of the nodes whose names begin with `out`."""
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, list(sides))
    names = [name for node in nodes for name in node.output if name.startswith("out")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [picture], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    path.write_bytes(model.SerializeToString())
    return path


def brightness_depth(path: Path, side: int) -> Path:
    """A depth model of one size: what is brighter after normalisation is nearer; output (1, side, side)."""
    mean = helper.make_node("ReduceMean", ["picture"], ["out"], axes=[1], keepdims=0)
    return write(path, [mean], (1, 3, side, side), {})


def patch_depth(path: Path, rows: int | None) -> Path:
    """A depth model of any size that fails unless it gets whole patches of 14; output (1, 1, rows / 14, columns / 14).

    Args:
        path: Where it is saved.
        rows: The rows that it must get, any multiple of 14 for None.
    """
    nodes = [
        helper.make_node("Reshape", ["picture", "by_columns"], ["patches"]),
        helper.make_node("Reshape", ["patches", "back"], ["same"]),
        helper.make_node("Transpose", ["same"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("Reshape", ["turned", "by_columns"], ["turned_patches"]),
        helper.make_node("ReduceMax", ["turned_patches"], ["any"], keepdims=0),
        helper.make_node("Mul", ["any", "zero"], ["nothing"]),
        helper.make_node("ReduceMean", ["same"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Add", ["grey", "nothing"], ["sum"]),
        helper.make_node("AveragePool", ["sum"], ["out"], kernel_shape=[14, 14], strides=[14, 14]),
    ]
    back = [0, 0, rows or 0, -1]  # 0 keeps a side as it is
    constants: dict[str, object] = {
        "by_columns": np.array([0, 0, 0, -1, 14], dtype=np.int64),
        "back": np.array(back, dtype=np.int64),
        "zero": np.float32(0),
    }
    return write(path, nodes, (1, 3, "rows", "columns"), constants)


def _certainty(channel: int) -> list[onnx.NodeProto]:
    """Nodes that give 1 where the strongest value of a channel is exactly `full`, and less the further it is."""
    return [
        helper.make_node("Gather", ["picture", f"channel{channel}"], ["plane"], axis=1),
        helper.make_node("ReduceMax", ["plane"], ["strongest"], keepdims=0),
        helper.make_node("Sub", ["strongest", "full"], ["off"]),
        helper.make_node("Abs", ["off"], ["distance"]),
        helper.make_node("Sub", ["unit", "distance"], ["certainty"]),
    ]


def pose(path: Path, outputs: Sequence[Floats], side: int, channel: int, full: float) -> Path:
    """A pose model that says what it is told, times how well the picture's reddest pixel arrives.

    Args:
        path: Where it is saved.
        outputs: What it says for a picture with a pure red pixel.
        side: Rows and columns of its input.
        channel: Where red is expected.
        full: The value of full red.
    """
    nodes = _certainty(channel)
    nodes += [
        helper.make_node("Mul", [f"said{index}", "certainty"], [f"out{index}"]) for index, _ in enumerate(outputs)
    ]
    constants: dict[str, object] = {f"said{index}": value for index, value in enumerate(outputs)}
    constants |= {f"channel{channel}": np.array([channel]), "full": np.float32(full), "unit": np.float32(1)}
    return write(path, nodes, (1, 3, side, side), constants)
