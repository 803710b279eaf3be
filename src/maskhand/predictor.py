"""Photo in, hands out: detect, reconstruct, select, fit, lift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from maskhand.config import DEFAULT_STEPS, DRAWING_STEPS
from maskhand.detection.hand_detector import Detector, HandDetector
from maskhand.hand_model.layer import HandModel
from maskhand.inference.candidates import Candidate, candidates_of
from maskhand.inference.config import InferenceConfig
from maskhand.inference.exposure import exposed
from maskhand.inference.hypotheses import draw_hypotheses, traced_photo
from maskhand.inference.proposals import detected, detections_in_boxes, with_keypoints
from maskhand.inference.reconstructor import Reconstructor
from maskhand.inference.selection import likelier_sides, select
from maskhand.io.photos import ImageSource, Photo, read_photo
from maskhand.model.unmasking import Sampling
from maskhand.runtime.engine import HandEngine, module_of
from maskhand.types import AttentionMap, Detection, Hand, Side
from maskhand.validation import checked_boxes_and_keypoints, checked_side, whole_number

if TYPE_CHECKING:
    from maskhand.runtime.hand_network import HandNetwork
MAX_STEPS, MAX_VIEWS, MAX_HYPOTHESES = 64, 32, 10_000
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
        built_in = HandDetector(engine, config.detection)
        self.reader, self.detector = built_in.reader, detector or built_in
        how = {"refine": refine, "views": whole_number(views, "views", MAX_VIEWS), "sampling": sampling}
        self.reconstructor = Reconstructor(engine, hand_model, config, **how)  # type: ignore[arg-type]

    @property
    def network(self) -> HandNetwork:
        """The PyTorch module that `backend="torch"` runs; ConfigError without it."""
        return module_of(self.engine)

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
        """The hands of each of some photos, all of them in memory, as when called with one; they share batches."""
        photos = [exposed(read_photo(image, focal_px=focal_px)) for image in images]
        steps = whole_number(steps, "steps", MAX_STEPS)
        checked_side(side)
        found = [detected(self.detector, self.reader, photo.pixels) for photo in photos]
        candidates = [self._candidates(hands, [side] * len(hands)) for hands in found]
        readings = self.reconstructor.read(photos, candidates, steps=steps)
        return self.reconstructor.lift(photos, [select(own, self.config.selection) for own in readings])

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
        photo = exposed(read_photo(image, focal_px=focal_px))
        checked, own = checked_boxes_and_keypoints(boxes, sides, keypoints, photo.pixels.shape[:2])
        detections = detections_in_boxes(self.reader, photo.pixels, checked, own, sides)
        return self.from_detections(photo, detections, sides, steps=steps)

    def from_detections(
        self, photo: Photo, detections: Sequence[Detection], sides: Sides = None, *, steps: int = DEFAULT_STEPS
    ) -> list[Hand]:
        """One hand per detection, in the order given; what a detection lacks, the landmark network reads in its box."""
        steps = whole_number(steps, "steps", MAX_STEPS)
        photo = exposed(photo)
        read = with_keypoints(self.reader, photo.pixels, detections)
        candidates = self._candidates(read, sides or [None] * len(read))
        (readings,) = self.reconstructor.read([photo], [candidates], steps=steps)
        return self.reconstructor.lift([photo], [likelier_sides(readings, self.config.selection)])[0]

    def hypotheses(
        self, image: ImageSource, hand: Hand, count: int = 16, *, steps: int = DRAWING_STEPS, seed: int = 0
    ) -> list[Hand]:
        """`count` other poses of a reconstructed hand (Appendix O), those near most others first; `seed`: which."""
        count, steps = whole_number(count, "count", MAX_HYPOTHESES), whole_number(steps, "steps", MAX_STEPS)
        return draw_hypotheses(self.reconstructor, traced_photo(image, hand), hand, count, steps=steps, seed=seed)

    def attention(self, image: ImageSource, hand: Hand, layer: int = 1) -> AttentionMap:
        """Where a layer (from 1 on) of the synthesizer samples the image (paper, Figure 16); for `backend="torch"`."""
        module_of(self.engine)
        from maskhand.inference.attention import attention_map

        return attention_map(self.reconstructor, traced_photo(image, hand), hand, layer)

    def _candidates(self, detections: Sequence[Detection], sides: Sequence[Side | None]) -> list[Candidate]:
        unsure = self.config.detection.reader.unsure_side if self.config.proposals.both_sides else 0.5
        return candidates_of(detections, sides, unsure, self.engine.config.crop)
