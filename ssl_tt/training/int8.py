"""Products of an ONNX graph with weights of 8 bits: a quarter of what each live frame has to read."""

from collections.abc import Collection
from typing import Any

import numpy as np

BLOCK = 64  # weights that share a scale

# onnxruntime's kernel rounds what comes in to 8 bits as well, in blocks like those of the weights.
ACCURACY_LEVEL = 4


def with_int8_weights(model: Any, names: Collection[str]) -> None:
    """Turn the products with these weights [K, N] of an `onnx.ModelProto` into onnxruntime's `MatMulNBits`."""
    from onnx import helper, numpy_helper

    initial = model.graph.initializer
    weights = {tensor.name: tensor for tensor in initial if tensor.name in names}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        x, name = node.input
        n_inputs, n_outputs = weights[name].dims
        product = helper.make_node(
            "MatMulNBits",
            [x, f"{name}.levels", f"{name}.scales"],
            node.output,
            node.name,
            domain="com.microsoft",
            K=n_inputs,
            N=n_outputs,
            bits=8,
            block_size=BLOCK,
            accuracy_level=ACCURACY_LEVEL,
        )
        node.CopyFrom(product)
    for name, tensor in weights.items():
        levels, scales = int8_blocks(numpy_helper.to_array(tensor).T)
        initial.append(numpy_helper.from_array(levels, f"{name}.levels"))
        initial.append(numpy_helper.from_array(scales, f"{name}.scales"))
        initial.remove(tensor)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def int8_blocks(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [N, K] as levels [N, blocks, BLOCK] and scales [N, blocks]: weight = (level - 128) * scale."""
    short = -weight.shape[1] % BLOCK
    blocks = np.pad(weight, ((0, 0), (0, short))).reshape(len(weight), -1, BLOCK)
    scales = np.abs(blocks).max(axis=2) / 127
    levels = np.rint(blocks / np.where(scales > 0, scales, 1)[..., None]) + 128
    return levels.astype(np.uint8), scales
