"""Photos in: any image file, PIL image or array becomes upright 8-bit RGB, with the focal length its EXIF data tell."""

from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from maskhand.errors import InputError

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"}
UNREAD_SUFFIXES = {".heic", ".heif", ".avif"}
"""Photos as some phones save them, which Pillow alone does not read everywhere."""
DEFAULT_FOCAL_MM = 28.0
"""35 mm-equivalent focal length assumed of a photo that does not tell: a phone's main camera."""
FILM_DIAGONAL_MM = math.hypot(36, 24)
MAX_PIXELS = 400_000_000
_FOCAL_35MM_TAG, _ORIENTATION_TAG, _EXIF_IFD = 0xA405, 0x0112, 0x8769
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Photo:
    """An upright photo."""

    pixels: np.ndarray
    """(H, W, 3) uint8 RGB."""
    focal_px: float
    focal_source: str
    """`given`, `exif` or `assumed`."""


ImageSource = str | Path | Image.Image | np.ndarray | Photo


def read_photo(source: ImageSource, *, focal_px: float | None = None) -> Photo:
    """Read an image, turn it upright, convert it to 8-bit RGB.

    Args:
        source: path, PIL image, or (H, W, 3) uint8 RGB array ((H, W) grey and (H, W, 4) RGBA work too); a `Photo` stays
            as it is.
        focal_px: focal length in pixels, if known; otherwise EXIF's, otherwise a phone's.

    Raises:
        InputError: no such file, not an image, an empty or absurd one, or an array of another kind.

    """
    if focal_px is not None and not (isinstance(focal_px, Real) and math.isfinite(focal_px) and focal_px > 0):
        raise InputError(f"focal length is {focal_px!r}; it must be a positive number of pixels")
    if isinstance(source, Photo):
        return source if focal_px is None else Photo(source.pixels, float(focal_px), "given")
    if isinstance(source, np.ndarray):
        pixels, exif_mm = _from_array(source), None
    elif isinstance(source, Image.Image):
        try:
            pixels, exif_mm = _from_pil(source, "the image")
        except InputError:
            raise
        except (OSError, SyntaxError, ValueError, AssertionError) as error:  # Pillow asserts that a file is open
            raise InputError(f"the image is damaged, cut short or closed: {error}") from error
    elif isinstance(source, (str, Path)):
        pixels, exif_mm = _from_file(Path(source))
    else:
        raise InputError(f"an image must be a path, a PIL image or a uint8 array, not {type(source).__name__}")
    diagonal = math.hypot(*pixels.shape[:2])
    if focal_px is not None:
        return Photo(pixels, float(focal_px), "given")
    millimetres = exif_mm or DEFAULT_FOCAL_MM
    return Photo(pixels, diagonal * millimetres / FILM_DIAGONAL_MM, "exif" if exif_mm else "assumed")


def _from_file(path: Path) -> tuple[np.ndarray, float | None]:
    if not path.exists():
        raise InputError(f"image {path} does not exist")
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, not an image; the command line takes folders: maskhand reconstruct {path} -o OUT"
        )
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _from_pil(image, str(path))
    except UnidentifiedImageError:
        hint = "; save it as JPEG or PNG first" if path.suffix.lower() in UNREAD_SUFFIXES else ""
        raise InputError(f"{path} is not an image that can be read{hint}") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"{path} has too many pixels; scale it down first (Pillow's limit, Image.MAX_IMAGE_PIXELS)"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or cut short: {error}") from error


def _from_pil(image: Image.Image, name: str) -> tuple[np.ndarray, float | None]:
    if not image.width * image.height:
        raise InputError(f"{name} has {image.width} x {image.height} pixels; there is nothing to see")
    if image.width * image.height > MAX_PIXELS:
        raise InputError(
            f"{name} has {image.width} x {image.height} pixels; at most {MAX_PIXELS // 1_000_000} million work"
        )
    image, exif_mm = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_array(_deep_grey(np.asarray(image))), exif_mm
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.array(image.convert("RGB")), exif_mm


def _upright(image: Image.Image) -> tuple[Image.Image, float | None]:
    """The image turned as its EXIF data say, and the 35 mm-equivalent focal length they tell.

    Whatever is wrong with EXIF data, each of the two is read as far as it can be read (Pillow's own `exif_transpose`
    writes all of them anew, and fails over any).
    """
    image.load()  # Pillow turns a TIFF itself while it loads, and takes its tag away
    turn, millimetres = None, None
    with contextlib.suppress(Exception):
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    with contextlib.suppress(Exception):
        value = float(image.getexif().get_ifd(_EXIF_IFD).get(_FOCAL_35MM_TAG, 0))
        millimetres = value if math.isfinite(value) and 5 <= value <= 2000 else None
    return (image if turn is None else image.transpose(turn)), millimetres


def _deep_grey(values: np.ndarray) -> np.ndarray:
    """16-bit (or wider) grey to 8 bits; what already fits is kept."""
    values = np.nan_to_num(values.astype(np.float64))
    top = float(values.max(initial=0))
    scale = 255 / 65535 if top > 255 else (255.0 if 0 < top <= 1 and (values % 1).any() else 1.0)
    return (values * scale).round().clip(0, 255).astype(np.uint8)


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        raise InputError(
            f"the image array has type {array.dtype}; expected uint8; "
            "if it is in 0-1, convert with (a * 255).astype('uint8')"
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or 0 in array.shape:
        raise InputError(f"the image array has shape {array.shape}; expected (height, width, 3)")
    if array.shape[2] == 4:
        alpha = array[:, :, 3:].astype(np.float32) / 255
        array = (array[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(array)
