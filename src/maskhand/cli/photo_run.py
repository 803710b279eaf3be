"""Many photos: read ahead, reconstructed some at a time, results written behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from maskhand.errors import InputError
from maskhand.io.photos import Photo, read_photo
from maskhand.io.results import write_result
from maskhand.predictor import Predictor
from maskhand.types import Hand, Side

PHOTOS_AT_ONCE = 2
"""In one batch; as many more are being read, and as many written."""
T = TypeVar("T")


@dataclass(frozen=True)
class PhotoRun:
    """How photos are reconstructed, and where results go."""

    predictor: Predictor
    out: Path
    steps: int
    side: Side | None = None
    boxes: dict[str, Any] | None = None
    """By photo name; None: hands are searched for."""
    focal_px: float | None = None
    mesh: str = "glb"

    def read(self, path: Path) -> Photo:
        """A photo that can be reconstructed.

        Raises:
            InputError: it cannot be read, or has no boxes where others have.

        """
        if self.boxes is not None:
            if path.name not in self.boxes:
                raise InputError(f"the boxes file has no entry for {path.name}")
            if not isinstance(self.boxes[path.name], list):
                boxes = self.boxes[path.name]
                raise InputError(f"the boxes of {path.name} are {boxes!r}; expected a list of [x1, y1, x2, y2]")
        return read_photo(path, focal_px=self.focal_px)

    def hands(self, paths: Sequence[Path], photos: Sequence[Photo]) -> list[list[Hand] | Exception]:
        """Of each photo, or why it has none."""
        together = None if self.boxes is not None else _tried(self._batch, photos)
        if isinstance(together, list):
            return together
        return [_tried(self._one, path, photo) for path, photo in zip(paths, photos, strict=True)]

    def _batch(self, photos: Sequence[Photo]) -> list[list[Hand]]:
        return self.predictor.batch(photos, steps=self.steps, side=self.side)

    def _one(self, path: Path, photo: Photo) -> list[Hand]:
        if self.boxes is None:
            return self._batch([photo])[0]
        boxes = self.boxes[path.name]
        return self.predictor.reconstruct(
            photo, boxes, [self.side] * len(boxes) if self.side else None, steps=self.steps
        )

    def write(self, path: Path, name: str, photo: Photo, hands: list[Hand]) -> int:
        """Everything about one photo, its record last; returns the number of hands."""
        from maskhand.rendering.overlay import draw_result

        picture = draw_result(photo.pixels, hands)
        write_result(self.out, name, path, photo, hands, picture, steps=self.steps, mesh=self.mesh)
        return len(hands)


def run_photos(run: PhotoRun, jobs: Sequence[tuple[Path, str]]) -> Iterator[tuple[Path, int | Exception]]:
    """Each photo's number of hands, or the error that kept it from being read or written, in their order.

    jobs: photos with the names of their results.
    """
    chunks = [jobs[k : k + PHOTOS_AT_ONCE] for k in range(0, len(jobs), PHOTOS_AT_ONCE)]
    pool = ThreadPoolExecutor(2)
    try:

        def reading(number: int) -> list[Future[Photo | Exception]]:
            return [pool.submit(_tried, run.read, path) for path, _ in chunks[number]] if number < len(chunks) else []

        ahead = reading(0)
        behind: list[tuple[Path, Future[int | Exception]]] = []
        for number, chunk in enumerate(chunks):
            photos = [future.result() for future in ahead]
            ahead = reading(number + 1)
            read = [k for k, photo in enumerate(photos) if isinstance(photo, Photo)]
            hands = dict(zip(read, run.hands([chunk[k][0] for k in read], [photos[k] for k in read]), strict=True))  # type: ignore[misc]
            yield from ((path, future.result()) for path, future in behind)
            behind = [
                (path, pool.submit(_written, run, path, name, photos[k], hands.get(k)))
                for k, (path, name) in enumerate(chunk)
            ]
        yield from ((path, future.result()) for path, future in behind)
    finally:
        pool.shutdown(cancel_futures=True)


def _written(run: PhotoRun, path: Path, name: str, photo: Photo | Exception, hands: Any) -> int | Exception:
    for outcome in (photo, hands):
        if isinstance(outcome, Exception):
            return outcome
    return _tried(run.write, path, name, photo, hands)


def _tried(function: Any, *arguments: Any) -> Any:
    """What the function gives, or the error about this one photo."""
    try:
        return function(*arguments)
    except Exception as error:
        return error.with_traceback(None)  # its frames would keep the photo in memory
