"""Context-Infused Masked Synthesizer: tokens attend to each other and to the image, then each names its code (Section
3.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.model.attention import Attention, FeedForward
from maskhand.model.config import ModelConfig
from maskhand.model.deformable_attention import DeformableAttention


class SynthesizerLayer(nn.Module):
    """Self-attention, deformable cross-attention, feed-forward; each with a norm before and a skip around."""

    def __init__(self, config: ModelConfig, levels: int) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attend = Attention(width, config.heads, config.dropout)
        self.deform = DeformableAttention(width, config.heads, levels, config.sampling_points, config.sampling_reach)
        self.feed = FeedForward(width, config.feed_forward, config.dropout)

    def forward(self, x: Tensor, reference: Tensor, values: list[Tensor]) -> Tensor:
        y = self.norm1(x)
        x = x + self.attend(y, y)
        x = x + self.deform(self.norm2(x), reference, values)
        return x + self.feed(self.norm3(x))


@dataclass(frozen=True)
class CodeGeometry:
    """What the head needs of the codebook, computed once for all rounds."""

    codes: Float[Tensor, "K C"]
    half_squares: Float[Tensor, " K"]
    """Half the squared length of each code."""
    spread: Float[Tensor, ""]
    """Mean squared distance of codes to their mean: the unit of squared distances."""

    @classmethod
    def of(cls, codes: Float[Tensor, "K C"]) -> CodeGeometry:
        half_squares = 0.5 * codes.square().sum(1)
        spread = 2 * half_squares.mean() - codes.mean(0).square().sum()
        return cls(codes, half_squares, spread)


class CodeHead(nn.Module):
    """Logits over the codes from a point in code space and a temperature.

    A code's logit is its (scaled) closeness to the point, so that similar codes get similar probabilities from the
    start; a plain linear layer has to learn the codebook's geometry first (docs/paper.md).
    """

    def __init__(self, width: int, code_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.point = nn.Linear(width, code_dim)
        self.sharpness = nn.Linear(width, 1)

    def forward(self, x: Float[Tensor, "B L D"], book: CodeGeometry) -> Float[Tensor, "B L K"]:
        with torch.autocast(x.device.type, enabled=False):  # near codes differ by less than bfloat16's rounding
            x = self.norm(x.float())
            closeness = self.point(x) @ book.codes.T - book.half_squares
            return closeness * (self.sharpness(x).clamp(-6, 6).exp() * 10 / book.spread)


class Synthesizer(nn.Module):
    """Layers and head. `prepare` once per image, then as many rounds as wanted."""

    def __init__(self, config: ModelConfig, levels: int, code_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SynthesizerLayer(config, levels) for _ in range(config.synthesizer_layers))
        self.head = CodeHead(config.width, code_dim)

    def prepare(self, pyramid: list[Tensor]) -> list[list[Tensor]]:
        return [layer.deform.project(pyramid) for layer in self.layers]  # type: ignore[union-attr, operator]

    def forward(
        self,
        tokens: Float[Tensor, "B L D"],
        reference: Float[Tensor, "B L 2"],
        values: list[list[Tensor]],
        book: CodeGeometry,
    ) -> Float[Tensor, "B L K"]:
        x = tokens
        for layer, value in zip(self.layers, values, strict=True):
            x = layer(x, reference, value)
        return self.head(x, book)


def token_keypoints(token_count: int, keypoint_of_joint: tuple[int, ...]) -> Tensor:
    """(L,) the keypoint at the joint whose rotation a token helps to spell."""
    return torch.tensor(keypoint_of_joint).repeat_interleave(token_count // len(keypoint_of_joint))
