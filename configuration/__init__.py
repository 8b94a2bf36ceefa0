"""One config class per model type."""

from .las import LasConfig

__all__ = ["LasConfig"]
