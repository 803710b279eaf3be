"""Photo in, hands out: detect, propose, predict, select, fit, lift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from maskhand.config import DEFAULT_STEPS, DRAWING_STEPS
from maskhand.detection.hand_detector import Detector, PalmHandDetector
from maskhand.hand_model.layer import HandModel
from maskhand.inference.attention import attention_map
from maskhand.inference.candidates import Proposal, Reading, candidates_of
from maskhand.inference.config import InferenceConfig
from maskhand.inference.hand_network import HandNetwork
from maskhand.inference.hypotheses import draw_hypotheses
from maskhand.inference.proposals import built_in_rounds, detections_in_boxes, detector_rounds, read_keypoints
from maskhand.inference.reconstructor import Reconstructor
from maskhand.inference.selection import likelier_sides, select
from maskhand.io.photos import Photo, read_photo
from maskhand.model.unmasking import Sampling
from maskhand.types import AttentionMap, Detection, Hand, Side
from maskhand.validation import checked_boxes_and_keypoints, checked_side, whole_number

MAX_STEPS, MAX_VIEWS, MAX_HYPOTHESES = 64, 32, 10_000
ImageSource = str | Path | Image.Image | np.ndarray | Photo
Sides = Sequence[Side] | None


class Predictor:
    """Finds the hands of a photo and reconstructs each. `maskhand.load` makes one and explains the arguments."""

    def __init__(
        self,
        network: HandNetwork,
        hand_model: HandModel,
        *,
        detector: Detector | None = None,
        config: InferenceConfig = InferenceConfig(),
        device: str = "cpu",
        refine: bool = True,
        views: int = 1,
        sampling: Sampling = Sampling(),
    ) -> None:
        if sampling.top_k is not None:
            whole_number(sampling.top_k, "top_k", network.model.tokenizer.config.codebook_size)
        self.network, self.hand_model, self.config = network.eval().to(device), hand_model.to(device), config
        built_in = PalmHandDetector.on(device, config.detection)
        self.reader, self.detector = built_in.reader, detector or built_in
        self.rounds = built_in_rounds(built_in, config.proposals, config.selection)
        if detector is not None:
            self.rounds = detector_rounds(detector, self.reader)
        self.reconstructor = Reconstructor(
            self.network, self.hand_model, self.reader.network, config,
            refine=refine, views=whole_number(views, "views", MAX_VIEWS), sampling=sampling,
        )  # fmt: skip

    def __call__(
        self, image: ImageSource, *, steps: int = DEFAULT_STEPS, side: Side | None = None, focal_px: float | None = None
    ) -> list[Hand]:
        """All hands of a photo, surest first; possibly none.

        Args:
            image: path, PIL image, (H, W, 3) uint8 RGB, or what `read_photo` made of one.
            steps: rounds of unmasking; more are slower.
            side: "left" or "right" if known for every hand, otherwise it is read off the photo.
            focal_px: focal length [px] if known, otherwise EXIF's, otherwise a phone's. It sets the depth.

        Raises:
            InputError: the image or an argument cannot be used.

        """
        photo, steps = read_photo(image, focal_px=focal_px), _checked_steps(steps)
        checked_side(side)
        selected: list[Reading] = []
        for propose in self.rounds:
            proposal = propose(photo.pixels, selected)
            if proposal.detections:
                readings = self._read(photo, proposal, [side] * len(proposal.detections), steps)
                selected = select([*selected, *readings], self.config.selection)
        return self.reconstructor.lift(photo, selected)

    def reconstruct(
        self,
        image: ImageSource,
        boxes: Sequence[Sequence[float]] | np.ndarray | None = None,
        sides: Sides = None,
        *,
        keypoints: np.ndarray | None = None,
        steps: int = DEFAULT_STEPS,
        focal_px: float | None = None,
    ) -> list[Hand]:
        """One hand per box, without detection, in the order given.

        Args:
            image, steps, focal_px: as when calling the predictor.
            boxes: (N, 4) x1, y1, x2, y2 [px]; may be left out when keypoints are given.
            sides: "left" or "right" per hand; read off the image when left out.
            keypoints: (N, 21, 2) or (N, 21, 3) one's own 2D pose: x, y [px], confidence (0: unknown), OpenPose's order.

        Raises:
            InputError: the image or an argument cannot be used.

        """
        photo = read_photo(image, focal_px=focal_px)
        checked, own = checked_boxes_and_keypoints(boxes, sides, keypoints, photo.pixels.shape[:2])
        detections = detections_in_boxes(self.reader, photo.pixels, checked, own)
        return self.from_detections(photo, detections, sides, steps=steps)

    def from_detections(
        self, photo: Photo, detections: Sequence[Detection], sides: Sides = None, *, steps: int = DEFAULT_STEPS
    ) -> list[Hand]:
        """One hand per detection, in the order given; what a detection lacks, the landmark network reads in its box."""
        steps = _checked_steps(steps)
        proposal = Proposal([read_keypoints(self.reader, photo.pixels, detection) for detection in detections])
        readings = self._read(photo, proposal, sides or [None] * len(detections), steps)
        return self.reconstructor.lift(photo, likelier_sides(readings, self.config.selection))

    def hypotheses(
        self, image: ImageSource, hand: Hand, count: int = 16, *, steps: int = DRAWING_STEPS, seed: int = 0
    ) -> list[Hand]:
        """`count` other poses of a reconstructed hand (Appendix O), those near most others first; `seed`: which.

        Raises:
            InputError: an argument cannot be used.

        """
        count, steps = whole_number(count, "count", MAX_HYPOTHESES), _checked_steps(steps)
        return draw_hypotheses(self.reconstructor, _photo_of(image, hand), hand, count, steps=steps, seed=seed)

    def attention(self, image: ImageSource, hand: Hand, layer: int = 1) -> AttentionMap:
        """Where a layer (from 1 on) of the synthesizer samples the image for each token (paper, Figure 16)."""
        return attention_map(self.reconstructor, _photo_of(image, hand), hand, layer)

    def _read(self, photo: Photo, proposal: Proposal, sides: Sequence[Side | None], steps: int) -> list[Reading]:
        unsure = self.config.detection.reader.unsure_side if self.config.proposals.both_sides else 0.5
        candidates = candidates_of(proposal, sides, unsure, self.network.config.crop)
        return self.reconstructor.read(photo, candidates, steps=steps)


def _checked_steps(steps: int) -> int:
    return whole_number(steps, "steps", MAX_STEPS)


def _photo_of(image: ImageSource, hand: Hand) -> Photo:
    return replace(read_photo(image, focal_px=hand.focal_px), focal_source=hand.trace.focal_source)
