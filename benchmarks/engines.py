"""Inference engines on our graphs: ONNX Runtime, OpenVINO, PyTorch, and LiteRT on Google's two networks as they came.

python benchmarks/engines.py [--save results/VERSION]    # needs the dev extra; openvino is left out where it is absent

For each graph the median of 40 runs [ms] with one and two threads, and with two beside a busy core; then how long
making all of them takes, and the size of what is installed [MB].
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import keep, median_ms, parser

from maskhand.assets import embedded, read_network
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.runtime.export import export_graphs
from maskhand.runtime.graphs import detection_graphs, hand_graphs

GRAPHS = ("hands", "palms", "landmarks", "encode", "round", "mean", "pose")
Run = Callable[[], object]
Engine = Callable[[str, int], Run]
LITERT = {"palms": "hand_detector.tflite", "landmarks": "hand_landmarks_detector.tflite"}


def onnxruntime_engine(folder: Path, inputs: dict[str, dict[str, np.ndarray]]) -> Engine:
    import onnxruntime

    def make(graph: str, threads: int) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
        session = onnxruntime.InferenceSession(folder / f"{graph}.onnx", options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, inputs[graph])

    return make


def openvino_engine(folder: Path, inputs: dict[str, dict[str, np.ndarray]]) -> Engine:
    import openvino

    core = openvino.Core()

    def make(graph: str, threads: int) -> Run:
        settings = {
            "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
        }  # fmt: skip
        request = core.compile_model(folder / f"{graph}.onnx", "CPU", settings).create_infer_request()
        return lambda: request.infer(inputs[graph])

    return make


def torch_engine(graphs: dict[str, Any], inputs: dict[str, dict[str, np.ndarray]]) -> Engine:
    def make(graph: str, threads: int) -> Run:
        torch.set_num_threads(threads)
        tensors = [torch.from_numpy(array) for array in inputs[graph].values()]

        def run() -> object:
            with torch.inference_mode():
                return graphs[graph](*tensors)

        return run

    return make


def litert_engine(folder: Path) -> Engine:
    from ai_edge_litert.interpreter import Interpreter

    package = Path(find_spec("hand_tracking").origin).parent  # type: ignore[union-attr, arg-type]
    with zipfile.ZipFile(package / "hand_landmarker.task") as task:
        task.extractall(folder)

    def make(graph: str, threads: int) -> Run:
        interpreter = Interpreter(str(folder / LITERT[graph]), num_threads=threads)
        interpreter.allocate_tensors()
        at = interpreter.get_input_details()[0]
        interpreter.set_tensor(at["index"], np.random.default_rng(0).random(at["shape"], np.float32))
        return interpreter.invoke

    return make


def installed_mb(package: str) -> float:
    spec = find_spec(package)
    folder = Path(spec.origin).parent if spec and spec.origin else Path(spec.submodule_search_locations[0])  # type: ignore[union-attr, index]
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def main() -> None:
    asked = parser(__doc__).parse_args()
    network = read_network(embedded("default.safetensors"))[0]
    graphs = {name: graph.eval() for name, graph in {**detection_graphs(), **hand_graphs(network)}.items()}
    torch.manual_seed(0)
    inputs = {
        name: {key: x.detach().numpy() for key, x in zip(graph.inputs, graph.example(1), strict=True)}
        for name, graph in graphs.items()
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export_graphs(folder, network, HandModel(free_hand_data()))
        engines = {"onnxruntime": onnxruntime_engine(folder, inputs), "torch": torch_engine(graphs, inputs)}
        if find_spec("openvino"):
            engines["openvino"] = openvino_engine(folder, inputs)
        if find_spec("ai_edge_litert") and find_spec("hand_tracking"):
            engines["ai_edge_litert"] = litert_engine(folder)
        for name, make in engines.items():
            row: dict[str, Any] = {"engine": name, "installed_mb": installed_mb(name)}
            own = LITERT if name == "ai_edge_litert" else GRAPHS
            began = time.perf_counter()
            made = {graph: make(graph, 2) for graph in own}
            row["making_s"] = time.perf_counter() - began
            for graph in own:
                row[f"{graph}_1"] = median_ms(make(graph, 1))
                row[f"{graph}_2"] = median_ms(make(graph, 2) if name == "torch" else made[graph])
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for graph in own:
                row[f"{graph}_2_busy"] = median_ms(made[graph])
            busy.kill()
            rows.append(row)
            print(name, {key: round(value, 2) for key, value in row.items() if key != "engine"})
    keep("engines", rows, asked.save, "python benchmarks/engines.py")


if __name__ == "__main__":
    main()
