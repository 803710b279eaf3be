from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from maskhand.errors import InputError
from maskhand.io.photos import read_photo


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4 % 256, y * 6 % 256, (x + y) % 256], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "png"),
        ("RGB", "jpg"),
        ("L", "png"),
        ("RGBA", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("CMYK", "jpg"),
        ("1", "png"),
        ("RGB", "webp"),
        ("RGB", "bmp"),
        ("RGB", "ppm"),
        ("P", "gif"),
    ],
)
def test_every_common_kind_of_image_becomes_rgb(tmp_path, mode: str, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    image = Image.fromarray(gradient()).convert(mode)
    image.save(path)
    photo = read_photo(path)
    assert photo.pixels.shape == (40, 60, 3) and photo.pixels.dtype == np.uint8
    expected = np.array(image.convert("L" if mode in ("L", "LA", "1") else "RGB").convert("RGB")).astype(int)
    assert np.abs(photo.pixels - expected).mean() < (12 if suffix in ("jpg", "webp") else 1)


def test_an_animation_is_its_first_frame(tmp_path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert (read_photo(tmp_path / "two.gif").pixels == (255, 0, 0)).all()


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path) -> None:
    deep = (np.arange(40 * 60).reshape(40, 60) * 27).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    expected = (deep / 257).round()
    assert np.abs(read_photo(tmp_path / "deep.png").pixels[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path, orientation: int, suffix: str) -> None:
    upright = Image.fromarray(gradient())
    undo = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}  # fmt: skip  # noqa: E501
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"turned.{suffix}", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / f"turned.{suffix}").pixels, gradient())


@pytest.mark.parametrize("tag", [0x011A, 0x0100])
def test_a_photo_with_one_broken_exif_entry_is_still_turned_upright(tmp_path, tag: int) -> None:
    """Resolution, or width, as text: Pillow reads the orientation, but cannot write such data anew."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6), struct.pack("<HHI4s", tag, 2, 4, b"odd")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(sorted(entries)) + struct.pack("<I", 0)
    Image.fromarray(gradient()).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "turned.png").pixels, gradient())


def test_transparent_pixels_become_white() -> None:
    image = np.zeros((4, 4, 4), np.uint8)
    assert (read_photo(image).pixels == 255).all()
    assert (read_photo(Image.fromarray(image)).pixels == 255).all()


def test_the_focal_length_comes_from_the_caller_exif_or_a_phone(tmp_path) -> None:
    image = Image.fromarray(gradient(300, 400))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50
    image.save(tmp_path / "with.jpg", exif=exif)
    image.save(tmp_path / "without.jpg")
    told, assumed, given = (
        read_photo(tmp_path / "with.jpg"),
        read_photo(tmp_path / "without.jpg"),
        read_photo(image, focal_px=777),
    )
    assert told.focal_source == "exif" and told.focal_px == pytest.approx(500 * 50 / np.hypot(36, 24))
    assert assumed.focal_source == "assumed" and assumed.focal_px == pytest.approx(500 * 28 / np.hypot(36, 24))
    assert given.focal_source == "given" and given.focal_px == 777


def test_grey_and_tiny_arrays_work() -> None:
    assert read_photo(np.zeros((1, 1), np.uint8)).pixels.shape == (1, 1, 3)


def test_a_cut_off_file_is_named(tmp_path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:2000])
    with pytest.raises(InputError, match=r"cut\.jpg is damaged or cut short"):
        read_photo(tmp_path / "cut.jpg")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jpg", "nowhere.jpg does not exist"),
        (np.zeros((4, 4, 3), np.float32), "float32; expected uint8"),
        (np.zeros((4, 4, 5), np.uint8), r"\(4, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (42, "not int"),
    ],
)
def test_what_is_no_image_is_refused(source, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_photo(source)


def test_a_closed_image_is_named(tmp_path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        pass
    with pytest.raises(InputError, match="closed"):
        read_photo(image)


def test_folders_text_and_heic_are_refused_with_a_way_out(tmp_path) -> None:
    with pytest.raises(InputError, match="maskhand reconstruct"):
        read_photo(tmp_path)
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(InputError, match="not an image"):
        read_photo(tmp_path / "note.txt")
    (tmp_path / "a.heic").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="save it as JPEG"):
        read_photo(tmp_path / "a.heic")


@pytest.mark.parametrize("focal", [0, -5, float("nan"), float("inf")])
def test_an_impossible_focal_length_is_refused(focal) -> None:
    with pytest.raises(InputError, match="positive number of pixels"):
        read_photo(gradient(), focal_px=focal)
