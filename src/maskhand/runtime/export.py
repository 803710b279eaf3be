"""The networks' graphs as ONNX files."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.onnx import register_custom_op_symbolic, symbolic_helper

from maskhand.errors import ConfigError
from maskhand.hand_model.layer import HandModel
from maskhand.runtime.graphs import Graph, Hand, detection_graphs, hand_graphs
from maskhand.runtime.hand_network import HandNetwork
from maskhand.runtime.onnx_engine import graph_sizes

OPSET = 18
TRACED_BATCH = 2
"""Not 1, which would be taken for a broadcast."""


def export_graphs(folder: Path, network: HandNetwork, hand_model: HandModel) -> list[Path]:
    """Every graph as a file of its own, weights inside (float32), batch dynamic.

    Args:
        folder: exists.
        network: trained.
        hand_model: right hand.

    """
    paths = []
    for name, graph in {**detection_graphs(), **hand_graphs(network), "hand": Hand(hand_model)}.items():
        paths.append(folder / f"{name}.onnx")
        onnx.save(traced(graph), paths[-1])
    return paths


def export_bare_graphs(folder: Path, network: HandNetwork) -> None:
    """The graphs without their weights, and index.json: the shapes of the tensors that each needs, by name, and of
    which sizes the network is. The package ships these.
    """
    names = {}
    for name, graph in {**detection_graphs(), **hand_graphs(network)}.items():
        model = traced(graph)
        names[name] = _take_weights_out(model, set(graph.network.state_dict()))  # type: ignore[operator, union-attr]
        onnx.save(model, folder / f"{name}.onnx")
    sizes = graph_sizes(network.config, network.model.tokenizer.config)
    (folder / "index.json").write_text(json.dumps({"sizes": sizes, "weights": names}, indent=1) + "\n")


def traced(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model.

    Raises:
        ConfigError: it does not give what the module gives.

    """
    inputs = graph.example(TRACED_BATCH)
    with torch.inference_mode():
        expected = graph.eval()(*inputs)
    named = [*graph.inputs, *expected]
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every size that it takes for fixed
        register_custom_op_symbolic("aten::prelu", _prelu, OPSET)
        torch.onnx.export(
            _Tuple(graph).eval(),
            inputs,
            file,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=False,
            input_names=list(graph.inputs),
            output_names=list(expected),
            dynamic_axes={name: {0: "batch"} for name in named},
        )
    model = onnx.load_from_string(file.getvalue())
    _merge_padding(model.graph)
    model.producer_name, model.producer_version = "maskhand", ""
    model.graph.name = type(graph).__name__.lower()
    for node in model.graph.node:
        node.ClearField("doc_string")
    _check(model, dict(zip(graph.inputs, inputs, strict=True)), expected)
    return model


def _check(model: onnx.ModelProto, inputs: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Raise unless the model gives what the module gave: a backbone of one's own may pad or clip in another way."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(list(expected), {name: x.detach().numpy() for name, x in inputs.items()})
    for (name, value), own in zip(expected.items(), found, strict=True):
        if not np.allclose(own, value.numpy(), atol=1e-3, rtol=1e-3):
            off = float(np.abs(own - value.numpy()).max())
            raise ConfigError(f"the exported {model.graph.name} differs from its module: {name} is off by {off:g}")


class _Tuple(nn.Module):
    """The tracer takes no outputs by name."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.graph(*inputs).values())


def _merge_padding(graph: onnx.GraphProto) -> None:
    """A padding before a convolution as part of it. Only `SameConv` pads so, as TensorFlow's SAME does."""
    producers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        before = producers.get(node.input[0]) if node.op_type == "Conv" else None
        if before is not None and before.op_type == "Pad":
            node.input[0] = before.input[0]
            kept = [attribute for attribute in node.attribute if attribute.name != "pads"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("auto_pad", "SAME_UPPER")])
    wanted, needed = {output.name for output in graph.output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            needed.append(node)
            wanted.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(needed))


def _take_weights_out(model: onnx.ModelProto, names: set[str]) -> dict[str, list[int]]:
    """Leave the values of these initializers to whoever runs the graph; returns their shapes."""
    taken: dict[str, list[int]] = {}
    renamed: dict[str, str] = {}
    for tensor in model.graph.initializer:
        name = tensor.name.removeprefix("graph.network.")
        if name not in names or tensor.data_type != TensorProto.FLOAT:
            continue
        tensor.ClearField("raw_data")
        renamed[tensor.name], tensor.name = name, name
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights")
        taken[name] = list(tensor.dims)
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    return taken


def _constant(g: Any, values: np.ndarray) -> Any:
    return g.op("Constant", value_t=torch.from_numpy(values))


def _prelu(g: Any, x: Any, slope: Any) -> Any:
    """S x + (1 - s) relu(x), as depthwise convolutions: these keep ONNX Runtime's blocked layout, PRelu does not."""
    channels = int(symbolic_helper._get_tensor_dim_size(slope, 0) or 0)
    kernel = g.op("Reshape", slope, _constant(g, np.array([channels, 1, 1, 1])))
    one = _constant(g, np.ones((channels, 1, 1, 1), np.float32))

    def scaled(y: Any, by: Any) -> Any:
        return g.op("Conv", y, by, group_i=channels, kernel_shape_i=[1, 1])

    positive = g.op("Relu", scaled(x, one))
    return g.op("Add", scaled(x, kernel), scaled(positive, g.op("Sub", one, kernel)))
