"""The version, readable without importing anything of weight."""

from importlib.metadata import version

__version__ = version("aural")
