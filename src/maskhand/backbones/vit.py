"""The paper's backbone: ViT-H/16, as HaMeR uses it, from random or ViTPose's weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.backbones.base import Maps, register_backbone
from maskhand.errors import ConfigError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WHOLE_BODY = 5
"""ViTPose++'s expert for COCO-WholeBody, whose annotations have hands."""


class VitBackbone(nn.Module):
    """ViT-H/16 as in HaMeR and the paper: columns 32:-32 of a 256 x 256 crop dropped, 16 x 12 tokens of 1,280
    channels.
    """

    channels = {1: 1280}
    base = (16, 12)
    input_px = 256
    shares_landmark_trunk = False

    def __init__(self, learns: str = "all", *, depth: int = 32, width: int = 1280, heads: int = 16) -> None:
        super().__init__()
        if learns not in ("nothing", "all"):
            raise ConfigError(
                f"model.encoder.learns is {learns!r}, which only the backbone 'hand' knows; use 'nothing' or 'all'"
            )
        try:
            from transformers import VitPoseBackbone, VitPoseBackboneConfig
        except ImportError as error:
            raise ConfigError("backbone 'vit-h' needs the package transformers: pip install 'maskhand[vit]'") from error
        self.channels = {1: width}
        self.vit = VitPoseBackbone(
            VitPoseBackboneConfig(
                image_size=[256, 192], patch_size=[16, 16], hidden_size=width, num_hidden_layers=depth,
                num_attention_heads=heads, mlp_ratio=4, qkv_bias=True,
            )
        )  # fmt: skip
        self.requires_grad_(learns == "all")

    def start_from(self, name: str, expert: int = WHOLE_BODY) -> None:
        """Weights of ViTPose, or of ViTPose++ as one of its experts, of which each layer's second map has a part.

        Args:
            name: a folder, or a name on the Hugging Face Hub, of Transformers' VitPoseForPoseEstimation.
            expert: which of ViTPose++'s; the one that learned whole bodies has seen hands.

        Raises:
            ConfigError: there is none, or it is of another size.

        """
        from transformers import VitPoseForPoseEstimation

        try:
            tensors = VitPoseForPoseEstimation.from_pretrained(name).backbone.state_dict()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"vit={name!r} cannot be read as a ViTPose model: {str(error).splitlines()[0]}"
            ) from error
        for key in [key for key in tensors if f".experts.{expert}." in key]:
            shared = key.replace(f"experts.{expert}", "fc2")
            tensors[shared] = torch.cat([tensors[shared], tensors[key]])
        tensors = {key: value for key, value in tensors.items() if ".experts." not in key}
        try:
            self.vit.load_state_dict(tensors)
        except RuntimeError as error:
            size = f"{len(self.vit.encoder.layer)} layers, {self.channels[1]} wide"
            raise ConfigError(f"vit={name!r} is no ViT of {size}: {str(error).splitlines()[-1].strip()}") from error

    def forward(self, image: Float[Tensor, "B 3 256 256"]) -> Maps:
        image = (image - image.new_tensor(IMAGENET_MEAN)[:, None, None]) / image.new_tensor(IMAGENET_STD)[:, None, None]
        tokens = self.vit(image[..., 32:-32]).feature_maps[-1]  # (B, 192, C)
        return {1: tokens.transpose(1, 2).unflatten(2, self.base)}

    def finish(self, maps: Maps) -> Maps:
        return maps

    def trainable(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]


register_backbone("vit-h", VitBackbone)
