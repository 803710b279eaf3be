"""The networks run by ONNX Runtime: NumPy in and out, no PyTorch."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from maskhand.config import to_dict
from maskhand.errors import ConfigError
from maskhand.runtime.config import NetworkConfig
from maskhand.runtime.weights import WeightFile
from maskhand.tokenizer.config import TokenizerConfig

MOST_THREADS = 4
"""Threads taken without being asked; the networks are too small for more."""
HAND = ("encode", "round", "mean", "pose")
DETECTION = ("hands", "palms", "landmarks")


def asset(name: str) -> Path:
    """Path of a file shipped inside the package."""
    return Path(str(files("maskhand") / "assets")) / name


def default_threads() -> int:
    """As many threads as this process may use cores, at most `MOST_THREADS`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)


@cache
def graph_index() -> dict[str, Any]:
    """Of the shipped graphs: the shapes of the `weights` that each needs, by name, and the `sizes` of their network."""
    return json.loads((asset("graphs") / "index.json").read_text(encoding="utf-8"))


def graph_sizes(network: NetworkConfig, tokenizer: TokenizerConfig) -> dict[str, Any]:
    """All that a network's graphs depend on."""
    return {key: to_dict(part) for key, part in vars(network).items() if key != "crop"} | {
        "tokenizer": to_dict(tokenizer)
    }


class OnnxEngine:
    """Runs the shipped graphs with weights that fit them.

    Graphs are read at once, in the background. Their weights are not in them: they come out of the safetensors files.

    Args:
        weights: of a trained network that the graphs fit (`fits`); None: detection alone.
        threads: of each run; None: `default_threads`.
        detector: weights of `maskhand train detector`, in place of the shipped ones.

    Raises:
        AssetError: weights are missing, or have other shapes.

    """

    def __init__(
        self,
        weights: WeightFile | None = None,
        threads: int | None = None,
        detector: str | Path | None = None,
    ) -> None:
        self.threads = default_threads() if threads is None else threads
        self.weights, self.detector = weights, WeightFile(detector or asset("hand_detector.safetensors"))
        self.detector.check(graph_index()["weights"]["hands"])
        if weights is not None:
            weights.check({name: shape for graph in HAND for name, shape in graph_index()["weights"][graph].items()})
            self.config, self.tokenizer = weights.network, weights.tokenizer
            self.input_px: int | None = None
        self._begin()

    def _begin(self) -> None:
        """Read the graphs, in threads of this process."""
        self._process = os.getpid()
        pool = ThreadPoolExecutor(2, thread_name_prefix="graphs")
        graphs = [*DETECTION, *(HAND if self.weights else ())]
        self._sessions = {graph: pool.submit(self._made, graph) for graph in graphs}
        pool.shutdown(wait=False)

    @staticmethod
    def fits(network: NetworkConfig, tokenizer: TokenizerConfig) -> bool:
        """Whether the shipped graphs are those of a network of these sizes."""
        return graph_sizes(network, tokenizer) == graph_index()["sizes"]

    @cached_property
    def codes(self) -> np.ndarray:
        """(K, C) the codebook."""
        if self.weights is None:
            raise ConfigError("this engine was made for detection alone; it has no codebook")
        return self.weights.tensor("model.tokenizer.codebook.codes")

    def run(self, graph: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of a graph by name."""
        if self._process != os.getpid():  # forked: threads stayed behind
            self._begin()
        if graph not in self._sessions:
            raise ConfigError(f"this engine was made for detection alone; it has no graph {graph!r}")
        session, names, _ = self._sessions[graph].result()
        return dict(zip(names, session.run(names, inputs), strict=True))

    def array(self, values: np.ndarray) -> np.ndarray:
        """The values as they are."""
        return values

    def _made(self, graph: str) -> tuple[Any, list[str], list[np.ndarray]]:
        """The session of a graph, the names of its outputs, and its weights, which it does not copy."""
        import onnxruntime

        shipped = {"palms": "palm_network.safetensors", "landmarks": "landmark_network.safetensors"}
        own = self.detector if graph == "hands" else self.weights
        own = WeightFile(asset(shipped[graph])) if graph in shipped else own
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        # Threads that wait longer sleep: spinning ones would take the core that another process, or NumPy, works on.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
        names = list(graph_index()["weights"][graph])
        weights = [own.tensor(name) for name in names]  # type: ignore[union-attr]
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights]
        options.add_external_initializers(names, values)
        path = asset("graphs") / f"{graph}.onnx"
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        return session, [output.name for output in session.get_outputs()], weights
