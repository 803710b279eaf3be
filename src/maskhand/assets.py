"""Finds weights and hand models by name or path, or says how to get them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maskhand.config import build, to_dict, with_overrides
from maskhand.detection.hand_detector import Detector, HandDetector
from maskhand.errors import AssetError, ConfigError
from maskhand.hand_model.free_hand import free_hand_data, load_npz
from maskhand.hand_model.layer import HandModel
from maskhand.hand_model.mano import load_mano
from maskhand.inference.config import InferenceConfig
from maskhand.model.unmasking import Sampling
from maskhand.predictor import Predictor
from maskhand.runtime.engine import HandEngine
from maskhand.runtime.onnx_engine import OnnxEngine
from maskhand.runtime.onnx_engine import asset as embedded
from maskhand.runtime.weights import WeightFile
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.validation import whole_number

if TYPE_CHECKING:
    from maskhand.runtime.hand_network import HandNetwork
    from maskhand.tokenizer.vq_mano import VqMano

Backend = Literal["onnx", "torch"]
MAX_THREADS = 256
EMBEDDED = {"default": 1, "large": 6}
"""Names of the embedded weights, and how many views of each hand are averaged."""
FREE_HAND = "maskhand-free"


def load(
    name: str | Path = "default",
    *,
    hand_model: str | Path | None = None,
    detector: Detector | None = None,
    device: str = "cpu",
    backend: Backend | None = None,
    threads: int | None = None,
    refine: bool = True,
    views: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    settings: Sequence[str] = (),
) -> Predictor:
    """A predictor with weights.

    Args:
        name: `default` for the embedded weights, `large` for the same weights with several views of each hand
            (steadier, slower), or the path of a .safetensors file that `maskhand train model` wrote.
        hand_model: an npz or MANO_RIGHT.pkl, for weights trained on it; the embedded free hand otherwise.
        detector: finds hands in place of the built-in detector: anything with its one method, `detect(image)`.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; all but the CPU need PyTorch.
        backend: what runs the networks: `onnx` (ONNX Runtime) or `torch` (PyTorch). Left out: ONNX Runtime on the CPU
            if the shipped graphs fit the weights.
        threads: of each run; as many as there are cores, at most 4, if left out.
        refine: fit each pose to the 2D keypoints it was made from; False gives the network's own prediction.
        views: crops of each hand, turned and scaled a little, whose predictions are averaged; the name's own number if
            left out.
        temperature, top_k: how codes are drawn (paper, Section 3.4), the same each time; at 0 each is the mean of what
            is likely.
        settings: changes of the weights' own inference settings, such as `fit.rounds=5` (`InferenceConfig`).

    Raises:
        AssetError: no such weights, damaged ones, or ones trained on another hand model.
        ConfigError: a setting or the device cannot be used.

    """
    path = embedded("default.safetensors") if str(name) in EMBEDDED else Path(name)
    if not path.exists():
        raise AssetError(
            f"no weights named {str(name)!r}: use one of {', '.join(EMBEDDED)}, or the path of a .safetensors file"
        )
    weights = WeightFile(path)
    hand = hand_model_of(weights.config, hand_model, path)
    return Predictor(
        _engine(weights, backend, device, threads),
        hand,
        detector=detector,
        config=with_overrides(InferenceConfig.of_weights(weights.config.get("inference", {})), settings),
        refine=refine,
        views=EMBEDDED.get(str(name), 1) if views is None else views,
        sampling=Sampling(temperature=temperature, top_k=top_k),
    )


def _engine(weights: WeightFile, backend: Backend | None, device: str, threads: int | None) -> HandEngine:
    if backend not in (None, "onnx", "torch"):
        raise ConfigError(f"backend is {backend!r}; expected 'onnx' or 'torch'")
    if threads is not None:
        whole_number(threads, "threads", MAX_THREADS)
    fits = OnnxEngine.fits(weights.network, weights.tokenizer)
    if backend == "onnx" and (device != "cpu" or not fits):
        why = (
            "runs on the CPU alone" if device != "cpu" else f"has no graphs of a network of the sizes of {weights.path}"
        )
        raise ConfigError(f"backend 'onnx' {why}; use backend='torch'")
    if backend == "onnx" or (backend is None and device == "cpu" and fits):
        return OnnxEngine(weights, threads)
    try:
        import torch

        from maskhand.runtime.torch_engine import TorchEngine
    except ImportError as error:
        raise ConfigError(f"{weights.path.name} on {device} needs PyTorch: pip install 'maskhand[torch]'") from error
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        return TorchEngine(read_network(weights.path)[0].to(device), detection=True)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


def detector_of(name: str | Path) -> Detector:
    """`default`, the built-in detector, or the same with the weights of `maskhand train detector`."""
    if str(name) == "default":
        return HandDetector(OnnxEngine())
    return HandDetector(OnnxEngine(detector=name))


def read_network(path: str | Path) -> tuple[HandNetwork, dict[str, Any]]:
    """The network of a weight file, and the file's whole config."""
    from maskhand.checkpoint import load_into, read_weights
    from maskhand.runtime.hand_network import HandNetwork
    from maskhand.tokenizer.vq_mano import VqMano

    weights = WeightFile(path)
    network = HandNetwork(weights.network, VqMano(weights.tokenizer))
    load_into(network, read_weights(path)[0], source=path)
    return network.eval(), weights.config


def network_config(network: HandNetwork, inference: InferenceConfig, hand_model: str = FREE_HAND) -> dict[str, Any]:
    """The config that a file of this network's weights carries."""
    return {
        "network": to_dict(network.config),
        "tokenizer": to_dict(network.model.tokenizer.config),
        "inference": inference.to_store(),
        "hand_model": hand_model,
    }


def hand_model_of(config: dict[str, Any], given: str | Path | None, weights: Path) -> HandModel:
    """The hand model that weights with this config were trained on: the free hand, or the one given.

    Raises:
        AssetError: that is another one.

    """
    hand = HandModel(free_hand_data()) if given is None else read_hand_model(given)
    trained_on = config.get("hand_model", FREE_HAND)
    if hand.name != trained_on:
        raise AssetError(f"weights {weights.name} were trained on hand model '{trained_on}', not on '{hand.name}'")
    return hand


def read_hand_model(path: str | Path) -> HandModel:
    """A hand model from an npz, or from MANO's official pickle."""
    path = Path(path)
    return HandModel(load_mano(path) if path.suffix.lower() == ".pkl" else load_npz(path))


def load_tokenizer(name: str | Path = "embedded") -> VqMano:
    """VQ-MANO from a stage 1 weight file; `embedded` is the one inside the default weights."""
    from maskhand.checkpoint import load_into, read_weights
    from maskhand.tokenizer.vq_mano import VqMano

    if str(name) == "embedded":
        return read_network(embedded("default.safetensors"))[0].model.tokenizer
    tensors, config = read_weights(name)
    if "network" in config:
        return read_network(name)[0].model.tokenizer
    if "tokenizer" not in config:
        raise AssetError(f"{name} holds no tokenizer (its config has {', '.join(config) or 'nothing'})")
    tokenizer = VqMano(build(TokenizerConfig, config["tokenizer"]))
    load_into(tokenizer, tensors, source=name)
    return tokenizer.eval()
