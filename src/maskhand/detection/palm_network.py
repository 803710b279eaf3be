"""Google's palm detection network (MediaPipe, Apache-2.0) as a PyTorch module."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pad

from maskhand.backbones.landmark_trunk import SameConv
from maskhand.checkpoint import load_into, read_weights
from maskhand.detection.palm_detector import INPUT_PX as INPUT_PX

VALUES = 18
"""Per anchor: box centre x, y, width, height, then seven points x, y [px of the 192 input, from the anchor]."""


class BlazeBlock(nn.Module):
    """Depthwise 5x5, pointwise, skip connection, PReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.extra = stride, outputs - inputs
        self.depthwise = SameConv(inputs, inputs, 5, stride, depthwise=True)
        self.pointwise = SameConv(inputs, outputs, 1)
        self.activation = nn.PReLU(outputs)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        y = self.pointwise(self.depthwise(x))
        if self.stride == 2:
            x = max_pool2d(x, 2)
        if self.extra:
            x = pad(x, (0, 0, 0, 0, 0, self.extra))
        return self.activation(x + y)


class Lateral(nn.Module):
    """Doubles a coarse map's size and adds it to a finer one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = SameConv(inputs, outputs, 1)
        self.activation = nn.PReLU(outputs)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        doubled = interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        return fine + self.activation(self.conv(doubled))


def _stage(width: int, count: int = 4) -> nn.Sequential:
    return nn.Sequential(*[BlazeBlock(width, width) for _ in range(count)])


class PalmTrunk(nn.Module):
    """RGB image in [0, 1], its sides multiples of 32, to fused maps of strides 16 and 8 and the coarse one of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_activation = SameConv(3, 32, 5, 2), nn.PReLU(32)
        self.stage96, self.down48 = _stage(32), BlazeBlock(32, 64, 2)
        self.stage48, self.down24 = _stage(64), BlazeBlock(64, 128, 2)
        self.stage24, self.down12 = _stage(128), BlazeBlock(128, 256, 2)
        self.stage12, self.down6 = _stage(256), BlazeBlock(256, 256, 2)
        self.stage6, self.up12, self.fused12 = _stage(256), Lateral(256, 256), _stage(256, 2)
        self.up24, self.fused24 = Lateral(256, 128), _stage(128, 2)

    def maps(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 128, H / 8, W / 8), (B, 256, H / 16, W / 16), (B, 256, H / 32, W / 32)."""
        x = self.stage96(self.stem_activation(self.stem(image)))
        fine24 = self.stage24(self.down24(self.stage48(self.down48(x))))
        fine12 = self.stage12(self.down12(fine24))
        map6 = self.stage6(self.down6(fine12))
        map12 = self.fused12(self.up12(map6, fine12))
        return self.fused24(self.up24(map12, fine24)), map12, map6


class PalmNetwork(PalmTrunk):
    """RGB image (192 x 192, letterboxed, in [0, 1]) to raw boxes and score logits of 2,016 anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.scores12, self.boxes12 = SameConv(256, 6, 1), SameConv(256, 6 * VALUES, 1)
        self.scores24, self.boxes24 = SameConv(128, 2, 1), SameConv(128, 2 * VALUES, 1)

    def forward(
        self, image: Float[Tensor, "B 3 192 192"]
    ) -> tuple[Float[Tensor, "B 2016 18"], Float[Tensor, "B 2016"]]:
        map24, map12, _ = self.maps(image)

        def rows(x: Tensor, values: int) -> Tensor:  # (B, A * values, H, W) -> (B, H * W * A, values)
            return x.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, values))

        boxes = torch.cat([rows(self.boxes24(map24), VALUES), rows(self.boxes12(map12), VALUES)], dim=1)
        scores = torch.cat([rows(self.scores24(map24), 1), rows(self.scores12(map12), 1)], dim=1)
        return boxes, scores[..., 0]


@cache
def shared_palm_network() -> PalmNetwork:
    """The network with its own weights, loaded once, frozen."""
    network = PalmNetwork()
    with as_file(files("maskhand") / "assets" / "palm_network.safetensors") as path:
        load_into(network, read_weights(path)[0], source=path)
    # Channels last: a quarter faster on a CPU.
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
