"""The landmark trunk and ViT-H."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import relu6

from maskhand.backbones.hand import HandBackbone
from maskhand.backbones.landmark_trunk import ClippedDepthwise, SameConv
from maskhand.backbones.vit import VitBackbone
from maskhand.errors import ConfigError
from maskhand.model.config import EncoderConfig
from maskhand.model.encoder import Pyramid


def test_the_papers_vit_h_runs_forward() -> None:
    pytest.importorskip("transformers", reason="the extra 'vit' is not installed")
    with torch.device("meta"):
        backbone = VitBackbone()
    assert sum(p.numel() for p in backbone.parameters()) > 600e6
    backbone = VitBackbone(depth=2).eval()  # all 32 layers alike: two of full width show that data pass
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 256, 256))
    assert maps[1].shape == (1, 1280, 16, 12)
    levels = Pyramid(backbone.channels, 32, EncoderConfig(backbone="vit-h", scales=(1, 4)))(maps)
    assert [tuple(x.shape[-2:]) for x in levels] == [(64, 48), (16, 12)]


def test_the_vit_starts_from_an_expert_of_vitpose(tmp_path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra 'vit' is not installed")
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 4}
    pose = transformers.VitPoseForPoseEstimation(
        transformers.VitPoseConfig(
            backbone_config=transformers.VitPoseBackboneConfig(**size, num_experts=6, part_features=8), num_labels=17
        )
    )
    pose.save_pretrained(tmp_path / "plus")
    backbone = VitBackbone(depth=2, width=32, heads=4).eval()
    backbone.start_from(str(tmp_path / "plus"), expert=4)
    image = torch.rand(1, 3, 256, 192)
    with torch.no_grad():
        theirs = pose.backbone.eval()(image, dataset_index=torch.tensor([4])).feature_maps[-1]
        torch.testing.assert_close(backbone.vit(image).feature_maps[-1], theirs)
    with pytest.raises(ConfigError, match="no ViT of 3 layers"):
        VitBackbone(depth=3, width=32, heads=4).start_from(str(tmp_path / "plus"))
    with pytest.raises(ConfigError, match="cannot be read as a ViTPose model"):
        backbone.start_from(str(tmp_path / "nothing"))


def test_the_encoder_is_named_when_its_package_is_missing(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"maskhand\[vit\]"):
        VitBackbone()


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 7), (5, 1, 14), (5, 2, 14), (3, 2, 28)])
def test_a_learning_depthwise_layer_is_the_convolution_and_its_gradients(kernel: int, stride: int, side: int) -> None:
    layer = ClippedDepthwise(6, kernel, stride)
    layer.load_state_dict(
        {"weight": torch.randn(6, 1, kernel, kernel), "bias": 3 * torch.randn(6)}
    )  # clips at both ends
    x = (4 * torch.randn(3, 6, side, side)).requires_grad_()
    learning = layer(x)  # compiled: its weights learn
    assert (learning == 0).any() and (learning == 6).any()
    with torch.no_grad():
        torch.testing.assert_close(learning, layer(x), rtol=1e-5, atol=1e-5)
    inputs = (x, layer.weight, layer.bias)
    weights = torch.randn_like(learning)
    compiled = torch.autograd.grad((weights * learning).sum(), inputs)
    proper = relu6(SameConv.forward(layer, relu6(x)))
    for ours, theirs in zip(compiled, torch.autograd.grad((weights * proper).sum(), inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_backbone_goes_on_from_the_cached_map_as_from_the_image() -> None:
    image = torch.rand(2, 3, 224, 224)
    for learns in ("nothing", "late", "most"):
        backbone = HandBackbone(learns).eval()
        with torch.no_grad():
            maps, _ = backbone.trunk(image)
            whole, cached = backbone(image), backbone.finish({4: maps[8]})
        for scale in (1, 2):
            torch.testing.assert_close(whole[scale], cached[scale], rtol=1e-4, atol=1e-4)
