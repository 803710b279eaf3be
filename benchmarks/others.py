"""Our parts beside other packages', in one run: hand layer, rasteriser, and the network beside one of ViT-H size.

python benchmarks/others.py [--threads 2] [--save results/VERSION]

Beside the dev extra it uses smplx (`pip install --no-deps smplx`) and embreex, each left out where it is absent. No
other hand model is needed: smplx's skinning gets ours. The large network is HaMeR's by size (ViT-H and a transformer
decoder of six layers), its weights random; it needs 4 GB.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from measure import keep, median_ms, parser
from torch import nn

from maskhand import load
from maskhand.assets import embedded
from maskhand.backbones import build_backbone
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.hand_model.skeleton import MODEL_PARENTS
from maskhand.io.photos import read_photo
from maskhand.rendering import compiled_rasteriser
from maskhand.rendering.rasteriser import rasterise
from maskhand.synthesis.pose_prior import PosePrior

BATCH = 16


def hand_layers(model: HandModel) -> dict[str, float]:
    """Skinning a batch of 16 hands."""
    pose = next(PosePrior(model).batches(BATCH, 3, [0]))
    shape = torch.zeros(BATCH, 10)
    arrays = pose.numpy(), shape.numpy()
    result = {
        "hand_numpy_ms": median_ms(lambda: model(*arrays)),
        "hand_torch_ms": median_ms(lambda: model(pose, shape)),
    }
    if find_spec("smplx"):
        from smplx.lbs import lbs

        parts = [torch.from_numpy(a) for a in (model.template[None], model.shape_basis)]
        correctives = torch.zeros(135, 3 * model.vertex_count)  # ours has none; smplx always adds them
        rest = [torch.from_numpy(a) for a in (model.joint_regressor, model.skin_weights)]
        parents = torch.tensor(MODEL_PARENTS)
        theirs = lambda: lbs(  # noqa: E731
            shape, pose, *parts, correctives, rest[0], parents, rest[1], pose2rot=False
        )
        off = theirs()[0] - theirs()[1][:, :1] - model(pose, shape).vertices
        result |= {"hand_smplx_ms": median_ms(theirs), "hand_smplx_off_mm": 1000 * off.abs().max().item()}
    return result


def rasterisers(model: HandModel, size: int = 480) -> dict[str, float]:
    """One hand over most of a picture of 480 x 480."""
    rest = model.template - model.template.mean(0)
    scale = 0.8 * size / np.ptp(rest[:, :2], axis=0).max()
    points = np.c_[rest[:, :2] * scale + size / 2, rest[:, 2] + 0.5].astype(np.float32)
    arguments = points, model.faces.astype(np.int32), rest.astype(np.float32), (size, size)
    result = {
        "rasterise_numpy_ms": median_ms(lambda: rasterise(*arguments)),
        "rasterise_numba_ms": median_ms(lambda: compiled_rasteriser.rasterise(*arguments)),
    }
    if find_spec("embreex"):
        import trimesh

        mesh = trimesh.Trimesh(points, model.faces, process=False)
        y, x = np.mgrid[:size, :size] + 0.5
        origins = np.stack([x.ravel(), y.ravel(), np.zeros(size * size)], 1)
        directions = np.tile([0.0, 0.0, 1.0], (size * size, 1))
        result["rasterise_embree_ms"] = median_ms(lambda: mesh.ray.intersects_first(origins, directions), 5)
    return result


class LargeNetwork(nn.Module):
    """A network of HaMeR's size: ViT-H/16, and one query over its map through a transformer decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = build_backbone("vit-h", "nothing")
        layer = nn.TransformerDecoderLayer(1024, 8, 1024, batch_first=True)
        self.project, self.decoder = nn.Linear(1280, 1024), nn.TransformerDecoder(layer, 6)
        self.read = nn.Linear(1024, 16 * 6 + 10 + 3)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        context = self.project(self.backbone(crops)[1].flatten(2).mT)
        return self.read(self.decoder(context.new_zeros(len(crops), 1, 1024), context))


@torch.inference_mode()
def networks() -> dict[str, float]:
    """One hand in a box that is given: the whole of ours, and the bare forward pass of the large one."""
    predictor, photo = load(), read_photo(embedded("demo.jpg"))
    box = [predictor(photo)[0].box]
    ours = median_ms(lambda: predictor.reconstruct(photo, box, ["right"]))
    large, crops = LargeNetwork().eval(), torch.rand(1, 3, 256, 256)
    theirs = median_ms(lambda: large(crops), 5)
    parameters = sum(p.numel() for p in large.parameters()) / 1e6
    return {
        "ours_in_a_box_ms": ours,
        "vit_h_ms": theirs,
        "vit_h_over_ours": theirs / ours,
        "vit_h_mparameters": parameters,
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--threads", type=int, default=2)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    model = HandModel(free_hand_data())
    result: dict[str, float] = {**hand_layers(model), **rasterisers(model), **networks()}
    keep("others", result, asked.save, "python benchmarks/others.py")


if __name__ == "__main__":
    main()
