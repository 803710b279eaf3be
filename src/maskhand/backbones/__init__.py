"""Image backbones; importing the package registers the built-in ones."""

from maskhand.backbones import hand, vit
from maskhand.backbones.base import Backbone, Maps, build_backbone, register_backbone

__all__ = ["Backbone", "Maps", "build_backbone", "hand", "register_backbone", "vit"]
