"""Photo in, hands out: the whole flow on one screen."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from maskhand.config import DEFAULT_STEPS, DRAWING_STEPS
from maskhand.detection.finder import HALF_INSIDE, SURE_PRESENCE, UNSURE_SIDE, HandFinder, HandProvider, same_hand, share_inside
from maskhand.detection.landmark_network import INPUT_PX, shared_landmark_network
from maskhand.detection.palm_detector import PalmDetector
from maskhand.detection.palm_network import shared_palm_network
from maskhand.errors import InputError
from maskhand.geometry.camera import fit_view, project, project_in_crop, translation_from_weak, turn_to_ray
from maskhand.geometry.crop import Crop, crop_around
from maskhand.given import box_around, checked_boxes, checked_keypoints, require_in_photo, unknown_in_the_middle, whole_number
from maskhand.hand_model.landmarks import landmark_points
from maskhand.hand_model.layer import HandModel, mirror_pose
from maskhand.images import Photo, read_photo
from maskhand.model.answer import apart_from_others, looks_around, merged, off_keypoints, refined, side_odds
from maskhand.model.confidence import Calibration
from maskhand.model.deformable import DeformableAttention
from maskhand.model.encoder import Maps, by_scale
from maskhand.model.maskhand import MaskHandModel
from maskhand.records import DetectedHand, Hand, Prediction, Side

MAX_STEPS, MAX_LOOKS, MAX_HYPOTHESES = 64, 32, 10_000
DRAWN_AT_ONCE = 64
"""Hypotheses: each holds the distributions of its tokens, half a megabyte."""
MEASURED_SHARE = 0.75
"""How much the placing of a hand in the photo trusts measured keypoints over the network's own projection [ours]."""
SIDE_STEPS = 3
"""Rounds of unmasking for a hand read as either side."""
MOVED = 0.03
"""Mean distance [sides of the crop] between the keypoints that a crop was laid around and those seen in it, from which on
the crop is laid anew [ours]."""
RELAID = 3
"""How often it is laid anew at most: a hand cut by its crop comes in sight step by step [ours]."""
APART = 0.07
"""Mean distance [sizes of the hand] between the two networks' keypoints from which on a hand is doubted: a chair leg taken for
one, or a crop that cuts it [ours]. Of 3,100 photos of hands it befalls 2 in 100."""
SURE_CONFIDENCE = 0.55
"""Confidence above which a doubted hand that the detector is unsure of still counts [ours]."""
PIXEL_SIGMA = 0.02
"""Expected error of a keypoint in sides of the crop [ours]."""
ImageSource = str | Path | Image.Image | np.ndarray


class Predictor:
    """Finds hands in a photo and reconstructs each."""

    def __init__(
        self,
        model: MaskHandModel,
        hand_model: HandModel,
        *,
        provider: HandProvider | None = None,
        calibration: Calibration | None = None,
        device: str = "cpu",
        refine: bool = True,
        looks: int = 1,
        temperature: float = 0.0,
        top_k: int | None = None,
    ) -> None:
        if temperature < 0:
            raise InputError(f"temperature is {temperature}; 0 takes the likeliest code, above 0 codes are drawn")
        if top_k is not None:
            whole_number(top_k, "top_k", model.tokenizer.config.codebook_size)
        self.temperature, self.top_k = temperature, top_k
        self.looks = whole_number(looks, "looks", MAX_LOOKS)
        self.model, self.hand_model = model.eval().to(device), hand_model.to(device)
        # Networks of its own on another device: the shared ones stay where other predictors use them.
        shared = device == "cpu"
        self.landmarks = shared_landmark_network() if shared else copy.deepcopy(shared_landmark_network()).to(device)
        palms = shared_palm_network() if shared else copy.deepcopy(shared_palm_network()).to(device)
        self.provider = provider or HandFinder(PalmDetector(palms), self.landmarks)
        self.calibration = calibration or Calibration()
        self.device = device
        self.refine = refine

    def __call__(
        self, image: ImageSource, *, steps: int = DEFAULT_STEPS, side: Side | None = None, focal_px: float | None = None
    ) -> list[Hand]:
        """All hands of a photo, surest first; possibly none.

        A hand of which the two networks see different keypoints is looked at again in other crops; if they agree in none, and
        neither the detector nor the answer is sure, it is taken for none. A photo without a hand is searched once more, turned
        and in a wide frame [ours].

        Args:
            image: path, PIL image or (H, W, 3) uint8 RGB.
            steps: rounds of unmasking; more are slower.
            side: "left" or "right" if known for every hand, otherwise the detector decides.
            focal_px: focal length [px] if known, otherwise EXIF's, otherwise a phone's. It sets the depth.

        Raises:
            InputError: the image or an argument cannot be used.

        """
        return self.from_photo(read_photo(image, focal_px=focal_px), steps=steps, side=side)

    def from_photo(self, photo: Photo, *, steps: int = DEFAULT_STEPS, side: Side | None = None) -> list[Hand]:
        """The same for a photo that has been read already."""
        found = self.provider.find(photo.pixels)
        hands = self._reconstruct(photo, found, [side] * len(found), steps)
        if not isinstance(self.provider, HandFinder):  # another provider answers for what it finds
            return sorted(hands, key=_sureness, reverse=True)
        again = [better for hand in hands for better in self._looked_again(self.provider, photo, hand, side, steps)]
        return _each_once(again) or _each_once(self._last_look(self.provider, photo, side, steps))

    def reconstruct(
        self,
        image: ImageSource,
        boxes: Sequence[Sequence[float]] | np.ndarray | None = None,
        sides: Sequence[Side] | None = None,
        *,
        keypoints: np.ndarray | None = None,
        steps: int = DEFAULT_STEPS,
        focal_px: float | None = None,
    ) -> list[Hand]:
        """One hand per box, without detection, in the order given.

        Args:
            boxes: (N, 4) x1, y1, x2, y2 [px]; may be left out when keypoints are given.
            sides: "left" or "right" per hand; read off the image when left out.
            keypoints: (N, 21, 2) or (N, 21, 3) one's own 2D pose: x, y [px], confidence (0: unknown), OpenPose's order.

        """
        return self.from_boxes(read_photo(image, focal_px=focal_px), boxes, sides, keypoints=keypoints, steps=steps)

    def from_detected(
        self, image: ImageSource, found: list[DetectedHand], *, steps: int = DEFAULT_STEPS, focal_px: float | None = None
    ) -> list[Hand]:
        """Hands that a provider has found already, in the order given."""
        return self._reconstruct(read_photo(image, focal_px=focal_px), found, [None] * len(found), steps)

    def from_boxes(
        self,
        photo: Photo,
        boxes: Sequence[Sequence[float]] | np.ndarray | None,
        sides: Sequence[Side] | None = None,
        *,
        keypoints: np.ndarray | None = None,
        steps: int = DEFAULT_STEPS,
    ) -> list[Hand]:
        """`reconstruct` for a photo that has been read already."""
        own = checked_keypoints(keypoints)
        if boxes is None:
            if own is None:
                raise InputError(
                    "reconstruct() needs boxes or keypoints; to search the photo for hands call the predictor itself"
                )
            boxes = np.array([box_around(k[k[:, 2] > 0, :2]) for k in own]).reshape(-1, 4)
        checked = checked_boxes(boxes)
        require_in_photo(checked, *photo.pixels.shape[:2])
        count = len(checked)
        if own is not None and len(own) != count:
            raise InputError(f"{len(own)} hands in keypoints but {count} boxes; they must be as many")
        if sides is not None and len(sides) != count:
            raise InputError(f"{len(sides)} sides but {count} boxes; they must be as many")
        found = [self.provider.find_in_box(photo.pixels, box) for box in checked]
        chosen = list(sides) if sides is not None else [None] * count
        return self._reconstruct(photo, found, chosen, steps, own, checked)

    def hypotheses(
        self, image: ImageSource, hand: Hand, count: int = 16, *, steps: int = DRAWING_STEPS, seed: int = 0
    ) -> list[Hand]:
        """What else a hand may be: poses drawn from what the model believes of it, likeliest first (paper, Appendix O).

        Each is nudged to the keypoints as the answer itself is. The likeliest is the one that most others lie near to [ours]; the
        paper takes the tokens' probabilities, which tell nothing of the error here. The answer is the mean of such poses and
        nearer to the truth than most of them (`maskhand evaluate hypotheses`).

        Args:
            image: the photo of the hand, as it was given before.
            hand: one that this predictor reconstructed from it.
            count: how many.
            steps: rounds of unmasking; with one, tokens are drawn regardless of each other.
            seed: which.

        Raises:
            InputError: an argument cannot be used.

        """
        count = whole_number(count, "count", MAX_HYPOTHESES)
        steps = whole_number(steps, "steps", MAX_STEPS)
        crop, given = hand.details["crop"], hand.details["given"]
        photo, seen, points = self._seen_again(image, hand)
        generator = torch.Generator(self.device).manual_seed(seed)
        drawn: list[Hand] = []
        poses: list[torch.Tensor] = []
        while len(drawn) < count:
            prediction = self.model.reconstruct(
                seen,
                points,
                self.hand_model,
                instead=given is not None,
                steps=steps,
                temperature=1.0,
                generator=generator,
                draws=min(count - len(drawn), DRAWN_AT_ONCE),
            )
            if self.refine:
                prediction = refined(self.hand_model, prediction, landmarks=given is None)
            drawn += [
                self._place(photo, hand.details["detected"], hand.side, crop, prediction, k, landmarks=given is None)
                for k in range(len(prediction.pose))
            ]
            poses.append(self.hand_model.keypoints(prediction.pose, prediction.shape))
        return [drawn[k] for k in apart_from_others(torch.cat(poses)).argsort().tolist()]

    def attention(self, image: ImageSource, hand: Hand, layer: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where a layer of the synthesizer looks for each token in the first round (paper, Figure 16).

        Args:
            image: the photo of the hand, as it was given before.
            hand: one that this predictor reconstructed from it.
            layer: which, from 1 on.

        Returns:
            Reference points (L, 2) and the places looked at (L, n, 2), both in the photo [px], and how much each counts (L, n).

        Raises:
            InputError: there is no such layer.

        """
        whole_number(layer, "layer", len(self.model.synthesizer.layers))
        crop, given = hand.details["crop"], hand.details["given"]
        _, seen, points = self._seen_again(image, hand)
        looked: list[tuple[torch.Tensor, ...]] = []
        look: DeformableAttention = self.model.synthesizer.layers[layer - 1].look  # type: ignore[union-attr, assignment]
        hook = look.register_forward_hook(lambda look, given, _: looked.append((given[1], *look.places(*given[:2]))))
        try:
            self.model.reconstruct(seen, points, self.hand_model, instead=given is not None, steps=1)
        finally:
            hook.remove()
        reference, places, weights = (x[0].cpu().numpy().astype(np.float64) for x in looked[0])
        return (
            crop.to_photo(reference),
            crop.to_photo(places.reshape(-1, 2)).reshape(len(reference), -1, 2),
            weights.reshape(len(reference), -1),
        )

    def _seen_again(self, image: ImageSource, hand: Hand) -> tuple[Photo, Maps | torch.Tensor, torch.Tensor]:
        """The photo of a hand that was reconstructed before, what the image encoder takes of its crop, and its keypoints."""
        photo = replace(read_photo(image, focal_px=hand.focal_px), focal_source=hand.details["focal_source"])
        crop, given = hand.details["crop"], hand.details["given"]
        maps, points = self._look(photo, [crop], [hand.details["detected"]])
        if given is not None:
            points = torch.from_numpy(given[None]).to(self.device)
        return photo, self._seen(photo, [crop], maps), points

    def _reconstruct(
        self,
        photo: Photo,
        found: list[DetectedHand],
        sides: Sequence[Side | None],
        steps: int,
        own: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
    ) -> list[Hand]:
        steps = whole_number(steps, "steps", MAX_STEPS)
        for side in sides:
            if side not in (None, "left", "right"):
                raise InputError(f"side is {side!r}; expected 'left' or 'right'")
        if not found:
            return []
        if own is None and not isinstance(self.provider, HandFinder):
            # Another provider's keypoints are what the network gets.
            own = checked_keypoints(np.stack([hand.keypoints for hand in found]))
            found = [replace(hand, keypoints=unknown_in_the_middle(k)) for hand, k in zip(found, own, strict=True)]
        chosen = self._sides(photo, found, sides)
        around = [
            hand.keypoints if own is None else np.where(own[k, :, 2:] > 0, own[k], hand.keypoints) for k, hand in enumerate(found)
        ]
        crops = [
            crop_around(points, mirrored=side == "left", upright=self.model.config.upright_crop)
            for points, side in zip(around, chosen, strict=True)
        ]
        if boxes is not None:
            found = [replace(hand, given_box=box) for hand, box in zip(found, boxes, strict=True)]
        maps, points = self._look(photo, crops, found)
        if own is None and self.model.config.upright_crop:
            crops, maps, points = self._settled(photo, found, crops, maps, points)
        every = [look for crop in crops for look in looks_around(crop, self.looks)]
        if self.looks > 1:
            maps, points = self._look(photo, every, [hand for hand in found for _ in range(self.looks)])
        if own is not None:
            unknown = np.full(21, np.nan)  # depth
            repeated = own.repeat(self.looks, axis=0)
            in_crop = [np.c_[crop.to_crop(k[:, :2]), k[:, 2], unknown] for crop, k in zip(every, repeated, strict=True)]
            points = torch.tensor(np.stack(in_crop), dtype=torch.float32, device=self.device)
        prediction = self._predict(photo, every, maps, points, steps, instead=own is not None)
        if self.looks > 1:
            prediction = merged(prediction, every, self.looks)
        if self.refine:
            prediction = refined(self.hand_model, prediction, landmarks=own is None)
        return [
            self._place(photo, hand, side, crop, prediction, k, landmarks=own is None)
            for k, (hand, side, crop) in enumerate(zip(found, chosen, crops, strict=True))
        ]

    def _looked_again(self, finder: HandFinder, photo: Photo, hand: Hand, side: Side | None, steps: int) -> list[Hand]:
        """The hand, where both networks see the same keypoints; else as the crop shows it in which they agree best. If they never
        do, the surest look; nothing if neither the detector nor the answer was sure.

        Where only another hand beside it is seen alike, that one, and the doubted one too if both detector and answer were sure.
        """
        if not hand.details["apart"] > APART:
            return [hand]
        found = finder.look_around(photo.pixels, box_around(hand.details["keypoints_seen"][:, :2]))
        looks = self._reconstruct(photo, found, [side] * len(found), steps)

        def is_it(look: Hand) -> bool:
            return share_inside(look.box, hand.box) > HALF_INSIDE

        agreeing = [look for look in looks if look.details["apart"] <= APART]
        best = sorted(agreeing, key=lambda look: (not is_it(look), look.details["apart"]))[:1]
        if best and is_it(best[0]):
            return best
        sure = hand.score > SURE_PRESENCE, hand.confidence > SURE_CONFIDENCE
        kept = [max([hand, *filter(is_it, looks)], key=_sureness)] if (all(sure) if best else any(sure)) else []
        return best + kept

    def _last_look(self, finder: HandFinder, photo: Photo, side: Side | None, steps: int) -> list[Hand]:
        """Hands of a photo in which none was found, turned and in a wide frame: if both networks agree and the answer is sure."""
        found = finder.last_look(photo.pixels)
        hands = self._reconstruct(photo, found, [side] * len(found), steps)
        return [hand for hand in hands if hand.details["apart"] <= APART and hand.confidence > SURE_CONFIDENCE]

    def _sides(self, photo: Photo, found: list[DetectedHand], given: Sequence[Side | None]) -> list[Side]:
        """Left or right: as given, as detected, or, where the detector is unsure, by reading the hand as either (`side_odds`)."""
        chosen = [side or hand.side for side, hand in zip(given, found, strict=True)]
        unsure = [k for k, hand in enumerate(found) if given[k] is None and UNSURE_SIDE < hand.right < 1 - UNSURE_SIDE]
        if unsure:
            upright = self.model.config.upright_crop
            crops = [crop_around(found[k].keypoints, mirrored=left, upright=upright) for left in (False, True) for k in unsure]
            maps, points = self._look(photo, crops, 2 * [found[k] for k in unsure])
            answer = self._predict(photo, crops, maps, points, SIDE_STEPS, instead=False)
            as_right, as_left = off_keypoints(self.hand_model, answer).cpu().chunk(2)
            odds = side_odds(torch.tensor([found[k].right for k in unsure]), as_right, as_left)
            for k, right in zip(unsure, odds > 0, strict=True):
                chosen[k] = "right" if right else "left"
        return chosen

    def _views(self, photo: Photo, crops: list[Crop], size: int) -> torch.Tensor:
        """(n, 3, size, size) RGB in [0, 1]."""
        views = torch.from_numpy(np.stack([crop.extract(photo.pixels, size) for crop in crops])).to(self.device)
        return views.permute(0, 3, 1, 2).float() / 255

    @torch.inference_mode()
    def _look(self, photo: Photo, crops: list[Crop], found: list[DetectedHand]) -> tuple[Maps, torch.Tensor]:
        """The landmark network's maps by scale, and its keypoints (crop coordinates, confidence, depth).

        It reads hands that stand upright. Where crops show them as they come, what it saw before counts (`found`).
        """
        maps, pooled = self.landmarks.trunk(self._views(photo, crops, INPUT_PX))
        if self.model.config.upright_crop:
            return by_scale(maps), self.landmarks.read(pooled).keypoints
        points = np.stack([_seen_before(hand, crop) for hand, crop in zip(found, crops, strict=True)])
        return by_scale(maps), torch.tensor(points, dtype=torch.float32, device=self.device)

    def _settled(
        self, photo: Photo, found: list[DetectedHand], crops: list[Crop], maps: Maps, points: torch.Tensor
    ) -> tuple[list[Crop], Maps, torch.Tensor]:
        """Crops laid anew, and looked at again, where they show the hand elsewhere than the look before said."""
        around = np.stack([f.keypoints[:, :2] for f in found])
        for _ in range(RELAID):
            seen = np.stack([crop.to_photo(p) for crop, p in zip(crops, points[..., :2].cpu().numpy(), strict=True)])
            apart = np.linalg.norm(seen - around, axis=2).mean(1)
            moved = [k for k, crop in enumerate(crops) if apart[k] > MOVED * crop.side]
            if not moved:
                break
            crops, around = list(crops), seen
            for k in moved:
                crops[k] = crop_around(seen[k], mirrored=crops[k].mirrored)
            new_maps, new_points = self._look(photo, [crops[k] for k in moved], [found[k] for k in moved])
            index = torch.tensor(moved, device=points.device)
            maps = {scale: x.index_copy(0, index, new_maps[scale]) for scale, x in maps.items()}
            points = points.index_copy(0, index, new_points)
        return crops, maps, points

    @torch.inference_mode()
    def _predict(
        self, photo: Photo, crops: list[Crop], maps: Maps, points: torch.Tensor, steps: int, *, instead: bool
    ) -> Prediction:
        """The network's answer. Its image encoder starts from the landmark network's own trunk: the maps serve both."""
        return self.model.reconstruct(
            self._seen(photo, crops, maps),
            points,
            self.hand_model,
            instead=instead,
            steps=steps,
            temperature=self.temperature,
            top_k=self.top_k,
            generator=torch.Generator(self.device).manual_seed(0),
        )

    def _seen(self, photo: Photo, crops: list[Crop], maps: Maps) -> Maps | torch.Tensor:
        """What the model's image encoder takes of crops whose maps by the landmark network are known."""
        return maps if self.model.reads_maps else self._views(photo, crops, self.model.encoder.backbone.input_px)

    @torch.inference_mode()
    def _place(
        self,
        photo: Photo,
        found: DetectedHand,
        side: Side,
        crop: Crop,
        prediction: Prediction,
        k: int,
        *,
        landmarks: bool,
    ) -> Hand:
        """From the crop's camera to the photo's: mirrored back, turned, and put where its keypoints were seen."""
        pose, shape = prediction.pose[k : k + 1], prediction.shape[k : k + 1]
        given = prediction.keypoints[k].cpu().numpy()
        mesh = self.hand_model(pose, shape)
        # What was measured are the landmark network's points, or somebody's own, taken to be our keypoints.
        marks = landmark_points(self.hand_model, pose, shape)
        seen = marks if landmarks else mesh.keypoints
        flat = project_in_crop(seen, translation_from_weak(prediction.weak_camera[k : k + 1]))[0].cpu().numpy()
        focal = torch.tensor([photo.focal_px], dtype=torch.float64)
        height, width = photo.pixels.shape[:2]
        principal = torch.tensor([width / 2, height / 2], dtype=torch.float64)
        flip = torch.tensor([-1.0 if side == "left" else 1.0, 1.0, 1.0], dtype=torch.float64)
        turn = turn_to_ray(torch.tensor(crop.centre), focal, principal) @ torch.from_numpy(crop.camera_rotation())
        vertices, keypoints, marks, seen = (
            (x[0].cpu().double() * flip) @ turn.T for x in (mesh.vertices, mesh.keypoints, marks, seen)
        )
        # Where the keypoints should come to lie: as measured, and as the network drew them where nothing was measured, or is to
        # be left alone.
        measured = (given[:, 2:3] > 0) * (MEASURED_SHARE if self.refine else 0.0)
        target = torch.from_numpy(crop.to_photo(measured * given[:, :2] + (1 - measured) * flat).astype(np.float64))
        trust = torch.from_numpy(np.where(measured[:, 0] > 0, np.clip(given[:, 2], 0.3, 1.0), 0.3)).double()
        settle, translation = fit_view(seen, target, trust, focal, principal, pixel_sigma=PIXEL_SIGMA * crop.side)
        turn = settle @ turn
        vertices, keypoints, marks = (x @ settle.T + translation for x in (vertices, keypoints, marks))
        own_pose = (mirror_pose(pose[0]) if side == "left" else pose[0]).cpu().double()
        own_pose = torch.cat([(turn @ own_pose[0])[None], own_pose[1:]])
        faces = self.hand_model.faces.cpu().numpy()
        joint_confidence = self.calibration(prediction.spread[k].cpu().numpy(), prediction.head_confidence[k].cpu().numpy())
        return Hand(
            side=side,
            box=found.box.astype(np.float32),
            score=found.score,
            vertices=vertices.numpy().astype(np.float32),
            faces=faces[:, ::-1].copy() if side == "left" else faces,
            joints=keypoints.numpy().astype(np.float32),
            keypoints=project(keypoints, focal, principal).numpy().astype(np.float32),
            pose=own_pose.numpy().astype(np.float32),
            shape=shape[0].cpu().numpy(),
            confidence=float(joint_confidence.mean()),
            joint_confidence=joint_confidence,
            focal_px=photo.focal_px,
            details={
                "detected": found,
                "apart": float(prediction.apart[k]),
                "landmarks": marks.numpy(),
                "keypoints_seen": np.c_[crop.to_photo(given[:, :2]), given[:, 2]],
                "tokens": prediction.tokens[k].cpu().numpy(),
                "token_confidence": prediction.token_confidence[k].cpu().numpy(),
                "crop": crop,
                "given": None if landmarks else given,
                "focal_source": photo.focal_source,
            },
        )


def _seen_before(hand: DetectedHand, crop: Crop) -> np.ndarray:
    """(21, 4) a detected hand's keypoints as a crop shows them: x, y in [-1, 1], confidence, depth in that unit."""
    depth = np.full(21, np.nan) if hand.depth is None else hand.depth * 2 / crop.side
    return np.c_[crop.to_crop(hand.keypoints[:, :2]), hand.keypoints[:, 2], depth]


def _each_once(hands: list[Hand]) -> list[Hand]:
    """The surest first, without those that are others seen twice."""
    kept: list[Hand] = []
    for hand in sorted(hands, key=_sureness, reverse=True):
        if not any(same_hand(hand.details["detected"], other.details["detected"]) for other in kept):
            kept.append(hand)
    return kept


def _sureness(hand: Hand) -> float:
    return hand.score * hand.confidence
