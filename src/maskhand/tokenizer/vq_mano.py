"""VQ-MANO: 16 joint rotations <-> a short sequence of discrete pose tokens (paper Section 3.1, Appendices B and C)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from maskhand.geometry.arrays import Constant
from maskhand.geometry.rotations import matrix_from_6d, six_from_matrix
from maskhand.tokenizer.codebook import Codebook
from maskhand.tokenizer.config import TokenizerConfig

_NO_TURN = Constant([1.0, 0, 0, 0, 1, 0])


class ResBlock(nn.Module):
    """Two 1D convolutions with a skip connection."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GELU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.GELU(),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Float[Tensor, "B C L"]) -> Float[Tensor, "B C L"]:
        return x + self.body(x)


class Upsample(nn.Module):
    """Doubles the length: every place becomes two, each with weights of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, 2 * width, 1)

    def forward(self, x: Float[Tensor, "B C L"]) -> Float[Tensor, "B C L2"]:
        return self.conv(torch.nn.functional.gelu(x)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(2)


class VqMano(nn.Module):
    """Pose tokenizer: encoder, codebook, decoder."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width

        def blocks(depth: int) -> list[nn.Module]:
            return [ResBlock(width, config.dilation_growth**k) for k in range(depth)]

        self.encoder = nn.Sequential(
            nn.Conv1d(6, width, 3, padding=1),
            *blocks(config.depth),
            *[Upsample(width) for _ in range(config.doublings)],
            *blocks(config.token_depth),
            nn.Conv1d(width, config.code_dim, 1),
        )
        self.codebook = Codebook(
            config.codebook_size, config.code_dim, decay=config.ema_decay, reset_below=config.reset_below
        )
        self.decoder = nn.Sequential(
            nn.Conv1d(config.code_dim, width, 1),
            *blocks(config.token_depth),
            *[nn.Sequential(nn.GELU(), nn.Conv1d(width, width, 2, stride=2)) for _ in range(config.doublings)],
            *blocks(config.depth),
            nn.GELU(),
            nn.Conv1d(width, 6, 3, padding=1),
        )

    def encode_continuous(self, pose: Float[Tensor, "B 16 3 3"]) -> Float[Tensor, "B L D"]:
        """Encodings before quantisation."""
        return self.encoder(six_from_matrix(pose).transpose(1, 2)).transpose(1, 2)

    def encode(self, pose: Float[Tensor, "B 16 3 3"]) -> Int[Tensor, "B L"]:
        """Tokens of a pose: 16 rotations against the parent, the first against the camera."""
        return self.codebook.nearest(self.encode_continuous(pose))

    def decode_embeddings(self, z: Float[Tensor, "B L D"]) -> Float[Tensor, "B 16 3 3"]:
        """Pose from code vectors, or from a mixture of them (paper Section 3.3)."""
        six = self.decoder(z.transpose(1, 2)).transpose(1, 2)
        return matrix_from_6d(six + _NO_TURN.on(six))

    def decode(self, tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B 16 3 3"]:
        """Pose from tokens."""
        return self.decode_embeddings(self.codebook.codes[tokens])

    def forward(
        self, pose: Float[Tensor, "B 16 3 3"]
    ) -> tuple[Float[Tensor, "B 16 3 3"], Float[Tensor, ""], Int[Tensor, "B L"]]:
        """Reconstructed pose, commitment loss ||z - sg[c]||^2, tokens."""
        quantised, commitment, tokens = self.codebook(self.encode_continuous(pose))
        return self.decode_embeddings(quantised), commitment, tokens
