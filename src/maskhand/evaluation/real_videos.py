"""Rows of the real evidence that come from videos, frame by frame, without any smoothing: jitter and the side."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from maskhand.data.photos import TRAINING_VIDEOS, video_frames
from maskhand.evaluation.real_photos import Row, scaled_about_wrist
from maskhand.predictor import Predictor

FRAMES = 150
"""Consecutive frames of each video."""
VIDEOS = ("stereo_handpose3d/cam0_test.mp4", *TRAINING_VIDEOS)


def video_rows(predictor: Predictor, root: Path, steps: int, frames: int | None = None) -> list[Row]:
    """Jitter of the joints about the wrist, all palms of one length, and how constant the side is."""
    rows = []
    for video in VIDEOS:
        ours: list[np.ndarray | None] = []
        theirs: list[np.ndarray | None] = []
        last: np.ndarray | None = None
        sides: list[str] = []
        for frame in islice(video_frames(root / video), frames or FRAMES):
            hands = predictor(frame, steps=steps)
            if not hands:
                ours.append(None)
                theirs.append(None)
                continue
            # The same hand as before, where there are several.
            hand = hands[0] if last is None else min(hands, key=lambda h, p=last: float(np.abs(h.keypoints - p).mean()))  # type: ignore[misc]
            last = hand.keypoints
            sides.append(hand.side)
            ours.append(scaled_about_wrist(hand.joints))
            theirs.append(scaled_about_wrist(hand.trace.detection.relief))
        name = video.split("/")[0]
        rows.append(Row(name, "jitter: mean second difference [mm]", "less", jitter(ours), jitter(theirs), len(sides)))
        if name == "dex_retargeting":  # a right hand, says its source
            share, measure = sides.count("right"), "frames with the right side [%]"
        else:
            share, measure = (
                max(sides.count("left"), sides.count("right")),
                "frames with the side that most frames have [%]",
            )
        rows.append(Row(name, measure, "more", 100 * share / max(1, len(sides)), None, len(sides)))
    return rows


def jitter(track: list[np.ndarray | None]) -> float:
    """Mean length of the second difference over three frames in a row that hold a hand."""
    values = [
        np.linalg.norm(a - 2 * b + c, axis=1).mean()
        for a, b, c in zip(track, track[1:], track[2:], strict=False)
        if a is not None and b is not None and c is not None
    ]
    return float(np.mean(values)) if values else float("nan")
