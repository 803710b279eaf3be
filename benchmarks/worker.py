"""One tool in a process of its own: a photo's path per line of input, the milliseconds it took per line of output.

python benchmarks/worker.py KIND [ARGUMENT]    # KIND: onnx, torch (ARGUMENT: steps), mediapipe (static or video)

`mediapipe` needs nothing of maskhand, so that another environment can run it (it wants an older NumPy).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps


def main() -> None:
    kind, *rest = sys.argv[1:]
    run = mediapipe(*rest) if kind == "mediapipe" else maskhand(kind, *rest)
    images: dict[str, np.ndarray] = {}
    for line in sys.stdin:
        path = line.strip()
        if path not in images:
            images[path] = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
            run(images[path])  # once to warm up
        began = time.perf_counter()
        run(images[path])
        print(1000 * (time.perf_counter() - began), flush=True)


def mediapipe(mode: str) -> Callable[[np.ndarray], object]:
    import mediapipe

    hands = mediapipe.solutions.hands.Hands(static_image_mode=mode == "static", max_num_hands=1, model_complexity=1)
    return hands.process


def maskhand(backend: str, steps: str = "1") -> Callable[[np.ndarray], object]:
    from maskhand import load

    predictor = load(backend=backend)
    return lambda image: predictor(image, steps=int(steps))


if __name__ == "__main__":
    main()
