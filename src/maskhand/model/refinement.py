"""Graph-based Anatomical Pose Refinement: 2D pose through a GCN, then graph transformer blocks (paper Section
3.2.2).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from maskhand.hand_model.skeleton import FINGER_BONES
from maskhand.model.attention import Attention
from maskhand.model.config import ModelConfig
from maskhand.types import Keypoints2D


def skeleton_adjacency() -> Float[Tensor, "21 21"]:
    """The hand's bones as D^-1/2 (A + I) D^-1/2 (Kipf and Welling, ICLR 2017)."""
    adjacency = torch.eye(21)
    for parent, child in FINGER_BONES:
        adjacency[parent, child] = adjacency[child, parent] = 1
    root = adjacency.sum(1).rsqrt()
    return root[:, None] * adjacency * root


class PoseGraph(nn.Module):
    """2D keypoints to one vector each, along the fixed skeleton."""

    adjacency: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.register_buffer("adjacency", skeleton_adjacency(), persistent=False)
        self.embed = nn.Linear(3, width)
        self.absent = nn.Parameter(0.02 * torch.randn(width))
        self.depth = nn.Linear(1, width) if config.pose_depth else None
        if self.depth is not None:  # without effect at first
            nn.init.zeros_(self.depth.weight)
            nn.init.zeros_(self.depth.bias)
        self.position = nn.Parameter(0.02 * torch.randn(21, width))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(config.graph_layers))

    def forward(self, keypoints: Keypoints2D) -> Float[Tensor, "B 21 D"]:
        """One vector per keypoint; one with confidence 0 is unknown, wherever it lies."""
        confidence = keypoints.confidence[..., None]
        known = (confidence > 0).to(confidence.dtype)
        x = (
            known * self.embed(torch.cat([keypoints.xy, confidence], -1) * known)
            + (1 - known) * self.absent
            + self.position
        )
        if self.depth is not None:
            depth = keypoints.depth[..., None]
            guessed = known * depth.isfinite()
            x = x + guessed * self.depth(depth.nan_to_num() * guessed)
        for layer in self.layers:
            x = x + gelu(layer(self.adjacency @ x))
        return x


class SqueezeExcite(nn.Module):
    """Channel weights from the mean over all tokens (Hu et al., CVPR 2018)."""

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(width, width // reduction), nn.ReLU(), nn.Linear(width // reduction, width), nn.Sigmoid()
        )

    def forward(self, x: Float[Tensor, "B n D"]) -> Float[Tensor, "B n D"]:
        return x * self.gate(x.mean(1, keepdim=True))


class GraphTransformerBlock(nn.Module):
    """Learnable adjacency, then equations (1) and (2): Q' = MHA(Norm(Q)) + Conv(Norm(Q)) + Q, SE(Norm(Q'))."""

    def __init__(self, config: ModelConfig, nodes: int) -> None:
        super().__init__()
        width = config.width
        self.adjacency = nn.Parameter(0.02 * torch.randn(nodes, nodes))
        self.graph_norm, self.graph = nn.LayerNorm(width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.attend = Attention(width, config.heads, config.dropout)
        self.pointwise = nn.Linear(width, width)  # a 1 x 1 convolution over the tokens
        self.out_norm, self.excite = nn.LayerNorm(width), SqueezeExcite(width)

    def forward(self, x: Float[Tensor, "B n D"]) -> Float[Tensor, "B n D"]:
        x = x + gelu(self.adjacency @ self.graph(self.graph_norm(x)))
        y = self.norm(x)
        return self.excite(self.out_norm(self.attend(y, y) + self.pointwise(y) + x))


class Refinement(nn.Module):
    """Pose tokens and 2D pose vectors refine each other; the pose tokens go on."""

    def __init__(self, config: ModelConfig, token_count: int) -> None:
        super().__init__()
        nodes = token_count + (21 if config.pose_context and config.refinement_blocks else 0)
        self.blocks = nn.ModuleList(GraphTransformerBlock(config, nodes) for _ in range(config.refinement_blocks))

    def forward(
        self, tokens: Float[Tensor, "B L D"], pose_context: Float[Tensor, "B 21 D"] | None
    ) -> Float[Tensor, "B L D"]:
        x = tokens if pose_context is None else torch.cat([tokens, pose_context], dim=1)
        for block in self.blocks:
            x = block(x)
        return x[:, : tokens.shape[1]]
