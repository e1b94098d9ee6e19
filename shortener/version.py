"""The version; a leaf, so that no module needs the package's face for it."""

__version__ = "0.1.0"
