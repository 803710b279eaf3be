"""Synthetic training images per second on one core.

python benchmarks/synthesis.py [--count 320]
"""

from __future__ import annotations

import argparse
import time

import cv2
import torch

from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.synthesis.scenes import SceneConfig, SceneGenerator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=320)
    count = parser.parse_args().count
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    generator = SceneGenerator(HandModel(free_hand_data()), SceneConfig(), seed=0)
    list(generator.samples(0, 32))  # compiles the rasteriser
    began = time.perf_counter()
    list(generator.samples(32, 32 + count))
    seconds = time.perf_counter() - began
    print(f"{count / seconds:.0f} images of 224 x 224 per second on one core ({1000 * seconds / count:.1f} ms each)")


if __name__ == "__main__":
    main()
