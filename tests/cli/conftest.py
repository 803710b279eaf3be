"""Photos to give to commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path, demo_image) -> Path:
    """A folder with a colour photo, and a grey one in a folder of it."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(demo_image).save(folder / "a.png")
    Image.fromarray(demo_image[:, :500]).convert("L").save(folder / "more" / "b.jpg")
    return folder
