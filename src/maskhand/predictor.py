"""Photo in, hands out: detect, propose, predict, select, fit, lift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from maskhand.config import DEFAULT_STEPS, DRAWING_STEPS
from maskhand.detection.hand_detector import Detector, PalmHandDetector
from maskhand.errors import ConfigError
from maskhand.hand_model.layer import HandModel
from maskhand.inference.candidates import Proposal, Reading, candidates_of
from maskhand.inference.config import InferenceConfig
from maskhand.inference.hypotheses import draw_hypotheses
from maskhand.inference.proposals import built_in_rounds, detections_in_boxes, detector_rounds, read_keypoints
from maskhand.inference.reconstructor import Reconstructor
from maskhand.inference.selection import likelier_sides, select
from maskhand.io.photos import Photo, read_photo
from maskhand.model.unmasking import Sampling
from maskhand.runtime.engine import HandEngine
from maskhand.types import AttentionMap, Detection, Hand, Side
from maskhand.validation import checked_boxes_and_keypoints, checked_side, whole_number

if TYPE_CHECKING:
    from maskhand.runtime.hand_network import HandNetwork

MAX_STEPS, MAX_VIEWS, MAX_HYPOTHESES = 64, 32, 10_000
ImageSource = str | Path | Image.Image | np.ndarray | Photo
Sides = Sequence[Side] | None


class Predictor:
    """Finds the hands of a photo and reconstructs each. `maskhand.load` makes one and explains the arguments."""

    def __init__(
        self,
        engine: HandEngine,
        hand_model: HandModel,
        *,
        detector: Detector | None = None,
        config: InferenceConfig = InferenceConfig(),
        refine: bool = True,
        views: int = 1,
        sampling: Sampling = Sampling(),
    ) -> None:
        if sampling.top_k is not None:
            whole_number(sampling.top_k, "top_k", engine.tokenizer.codebook_size)
        self.engine, self.hand_model, self.config = engine, hand_model, config
        built_in = PalmHandDetector(engine, config.detection)
        self.reader, self.detector = built_in.reader, detector or built_in
        self.rounds = built_in_rounds(built_in, config.proposals, config.selection)
        if detector is not None:
            self.rounds = detector_rounds(detector, self.reader)
        self.reconstructor = Reconstructor(
            engine, hand_model, config, refine=refine, views=whole_number(views, "views", MAX_VIEWS), sampling=sampling
        )

    @property
    def network(self) -> HandNetwork:
        """The PyTorch module behind it.

        Raises:
            ConfigError: the predictor was not loaded with backend="torch".

        """
        network = getattr(self.engine, "network", None)
        if network is None:
            raise ConfigError("this predictor runs exported graphs: load with backend='torch' for the PyTorch module")
        return network

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
        return self.batch([image], steps=steps, side=side, focal_px=focal_px)[0]

    def batch(
        self,
        images: Sequence[ImageSource],
        *,
        steps: int = DEFAULT_STEPS,
        side: Side | None = None,
        focal_px: float | None = None,
    ) -> list[list[Hand]]:
        """The hands of each of several photos, as when called with one; hands of all share the network's batches.

        For more photos than fit into memory call it with some at a time.
        """
        photos, steps = [read_photo(image, focal_px=focal_px) for image in images], _checked_steps(steps)
        checked_side(side)
        selected: list[list[Reading]] = [[] for _ in photos]
        for propose in self.rounds:
            proposals = [propose(photo.pixels, own) for photo, own in zip(photos, selected, strict=True)]
            known = [[side] * len(proposal.detections) for proposal in proposals]
            for k, readings in enumerate(self._read(photos, proposals, known, steps)):
                if readings:
                    selected[k] = select([*selected[k], *readings], self.config.selection)
        return self._lift(photos, selected)

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
        (readings,) = self._read([photo], [proposal], [sides or [None] * len(detections)], steps)
        return self._lift([photo], [likelier_sides(readings, self.config.selection)])[0]

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
        """Where a layer (from 1 on) of the synthesizer samples the image for each token (paper, Figure 16).

        Raises:
            ConfigError: the predictor was not loaded with backend="torch".

        """
        from maskhand.inference.attention import attention_map

        return attention_map(self.reconstructor, _photo_of(image, hand), hand, layer)

    def _read(
        self, photos: Sequence[Photo], proposals: Sequence[Proposal], sides: Sequence[Sequence[Side | None]], steps: int
    ) -> list[list[Reading]]:
        """The readings of each photo's proposal."""
        unsure = self.config.detection.reader.unsure_side if self.config.proposals.both_sides else 0.5
        crop = self.engine.config.crop
        candidates = [candidates_of(*one, unsure, crop) for one in zip(proposals, sides, strict=True)]
        of_photo = [photo for photo, own in zip(photos, candidates, strict=True) for _ in own]
        readings = iter(self.reconstructor.read(of_photo, [c for own in candidates for c in own], steps=steps))
        return [list(islice(readings, len(own))) for own in candidates]

    def _lift(self, photos: Sequence[Photo], selected: Sequence[Sequence[Reading]]) -> list[list[Hand]]:
        of_photo = [photo for photo, own in zip(photos, selected, strict=True) for _ in own]
        hands = iter(self.reconstructor.lift(of_photo, [reading for own in selected for reading in own]))
        return [list(islice(hands, len(own))) for own in selected]


def _checked_steps(steps: int) -> int:
    return whole_number(steps, "steps", MAX_STEPS)


def _photo_of(image: ImageSource, hand: Hand) -> Photo:
    return replace(read_photo(image, focal_px=hand.focal_px), focal_source=hand.trace.focal_source)
