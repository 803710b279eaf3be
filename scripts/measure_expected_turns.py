"""How far off the network's joints are to be expected for the fit to help most: `EXPECTED_TURNS` of
hand_model/fitting.py.

    maskhand data cache synthetic -o cache/other --shards 2 --seed 53 --half      # images that no weights were trained
    on python scripts/measure_expected_turns.py cache/other

Gradient descent on the mean PA-MPJPE after the fit, through its steps, of 100 of those hands at a time, from what is
there. The setting holds what came of it once, with the fit's other constants learned beside these, changed a little
for real hands: see there. From there, alone, the descent makes all of them smaller (stereo hands want them larger), in
about these proportions.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from maskhand.assets import load
from maskhand.data.cached import CachedSamples, batch_keypoints
from maskhand.data.feature_cache import complete_shards
from maskhand.evaluation.metrics import aligned_point_error_mm
from maskhand.fitting.keypoint_fit import FitConfig
from maskhand.fitting.prediction_fit import fit_prediction
from maskhand.types import Prediction

STEPS, BATCH, RATE = 60, 100, 0.06


def out_of_inference_mode(prediction: Prediction) -> Prediction:
    """The same numbers, from which gradients can start."""
    copied = {key: value.clone() for key, value in vars(prediction).items() if isinstance(value, torch.Tensor)}
    return replace(prediction, **copied, keypoints=prediction.keypoints.map(torch.Tensor.clone))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", help="folder of `maskhand data cache synthetic`")
    parser.add_argument("--model", default="default", help="`default` or the path of a .safetensors file")
    asked = parser.parse_args()
    predictor, samples = load(asked.model, backend="torch"), CachedSamples(complete_shards(asked.cache))
    hand_model = predictor.hand_model
    log_expected = torch.tensor(FitConfig().expected_turns).log().requires_grad_()
    optimizer = torch.optim.Adam([log_expected])
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        rows = samples.rows(rng.choice(len(samples), BATCH, replace=False))
        keypoints = batch_keypoints(rows["points"])
        prediction = predictor.network.reconstruct({4: rows["map8"]}, keypoints, hand_model)
        prediction = out_of_inference_mode(prediction)
        fitted = fit_prediction(hand_model, prediction, predictor.config.fit, expected_turns=log_expected.exp())
        wanted = hand_model.keypoints(rows["pose"], rows["shape"])
        error = aligned_point_error_mm(hand_model.keypoints(fitted.pose, fitted.shape), wanted).mean()
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        if step % 10 == 9:
            print(f"step {step + 1}: {error.item():.2f} mm on these {BATCH}", flush=True)
    for row in log_expected.exp().tolist():
        print([float(f"{value:.2g}") for value in row])


if __name__ == "__main__":
    main()
