"""Finds weights and hand models by name or path, or says how to get them."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from maskhand.checkpoint import load_into, read_weights
from maskhand.config import build
from maskhand.errors import AssetError, ConfigError
from maskhand.hand_model.free_hand import free_hand_data, load_npz
from maskhand.hand_model.layer import HandModel
from maskhand.hand_model.mano import load_mano
from maskhand.model.confidence import Calibration
from maskhand.model.config import ModelConfig
from maskhand.model.maskhand import MaskHandModel
from maskhand.predictor import Predictor
from maskhand.tokenizer.vq_mano import TokenizerConfig, VqMano

EMBEDDED = {"default": 1, "large": 6}
"""Sizes of the embedded model and their number of looks at each hand."""
FREE_HAND = "maskhand-free"


def embedded(name: str) -> Path:
    """Path of a file shipped inside the package."""
    with as_file(files("maskhand") / "assets" / name) as path:
        return Path(path)


def load(
    name: str | Path = "default",
    *,
    hand_model: str | Path | None = None,
    device: str = "cpu",
    refine: bool = True,
    looks: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
) -> Predictor:
    """A predictor with weights.

    Args:
        name: `default` for the embedded weights, `large` for the same weights with several looks at each hand (steadier,
            slower), or the path of a .safetensors file that `maskhand train model` wrote.
        hand_model: an npz or MANO_RIGHT.pkl, for weights trained on it; the embedded free hand otherwise.
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        refine: nudge each pose towards the keypoints it was made from; False gives the network's bare answer.
        looks: how many shaken crops of each hand are averaged; the size's own number if left out.
        temperature, top_k: how codes are drawn (paper, Section 3.4), the same each time; at 0 each is the mean of what is
            likely, which is nearer to the truth than what is drawn [ours].

    Raises:
        AssetError: no such weights, damaged ones, or ones trained on another hand model.

    """
    path = embedded("default.safetensors") if str(name) in EMBEDDED else Path(name)
    if not path.exists():
        raise AssetError(f"no weights named {str(name)!r}: use one of {', '.join(EMBEDDED)}, or the path of a .safetensors file")
    model, config = read_model(path)
    hand = HandModel(free_hand_data()) if hand_model is None else read_hand_model(hand_model)
    trained_on = config.get("hand_model", FREE_HAND)
    if hand.name != trained_on:
        raise AssetError(f"weights {path.name} were trained on hand model '{trained_on}', not on '{hand.name}'")
    calibration = Calibration(**config.get("calibration", {}))
    try:
        return Predictor(
            model,
            hand,
            calibration=calibration,
            device=device,
            refine=refine,
            looks=EMBEDDED.get(str(name), 1) if looks is None else looks,
            temperature=temperature,
            top_k=top_k,
        )
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


def read_model(path: str | Path) -> tuple[MaskHandModel, dict]:
    """The network of a weight file, and the file's whole config."""
    tensors, config = read_weights(path)
    if "model" not in config or "tokenizer" not in config:
        raise AssetError(f"{path} holds no MaskHand model (its config has {', '.join(config) or 'nothing'})")
    model_config = build(ModelConfig, config["model"])
    model = MaskHandModel(model_config, VqMano(build(TokenizerConfig, config["tokenizer"])))
    borrowed = {key: value for key, value in model.state_dict().items() if key.startswith(model.borrowed)}
    load_into(model, tensors | borrowed, source=path)
    return model.eval(), config


def read_hand_model(path: str | Path) -> HandModel:
    """A hand model from an npz, or from MANO's official pickle."""
    path = Path(path)
    return HandModel(load_mano(path) if path.suffix.lower() == ".pkl" else load_npz(path))


def load_tokenizer(name: str | Path = "embedded") -> VqMano:
    """VQ-MANO from a stage 1 weight file; `embedded` is the one inside the default weights."""
    if str(name) == "embedded":
        return read_model(embedded("default.safetensors"))[0].tokenizer
    tensors, config = read_weights(name)
    if "model" in config:
        return read_model(name)[0].tokenizer
    if "tokenizer" not in config:
        raise AssetError(f"{name} holds no tokenizer (its config has {', '.join(config) or 'nothing'})")
    tokenizer = VqMano(build(TokenizerConfig, config["tokenizer"]))
    load_into(tokenizer, tensors, source=name)
    return tokenizer.eval()
