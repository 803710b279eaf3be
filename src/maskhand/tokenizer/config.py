"""Sizes of the pose tokenizer (paper Section 3.1, Tables 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass

from maskhand.errors import ConfigError

JOINTS = 16


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """How VQ-MANO spells a hand pose in discrete tokens."""

    token_count: int = 64
    """Tokens per pose; 16 times a power of two (Table 7: 16, 32, 64, 128)."""
    codebook_size: int = 2048
    """(Table 8: 1024, 2048, 4096)."""
    code_dim: int = 256
    """(Table 8: 128, 256)."""
    width: int = 128
    """Channels of the convolutions (TokenHMR: 512)."""
    depth: int = 3
    """ResBlocks at the resolution of the joints."""
    token_depth: int = 1
    """ResBlocks at the resolution of the tokens."""
    dilation_growth: int = 3
    """Dilation of ResBlock k is this to the power k (TokenHMR)."""
    ema_decay: float = 0.99
    """(TokenHMR)."""
    reset_below: float = 1.0
    """Average count under which a code is reset (TokenHMR)."""

    def __post_init__(self) -> None:
        ratio = self.token_count / JOINTS
        if ratio < 1 or ratio != int(ratio) or int(ratio) & (int(ratio) - 1):
            raise ConfigError(f"tokenizer.token_count is {self.token_count}; it must be 16 times a power of two")
        for name in ("codebook_size", "code_dim", "width", "depth"):
            if getattr(self, name) < 1:
                raise ConfigError(f"tokenizer.{name} is {getattr(self, name)}; it must be at least 1")

    @property
    def doublings(self) -> int:
        return (self.token_count // JOINTS).bit_length() - 1
