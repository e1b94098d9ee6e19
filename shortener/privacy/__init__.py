"""What people may ask about their data: all of it in one document, or that it be gone."""

from shortener.privacy.erasure import Erasure
from shortener.privacy.export import Exporter, Part

__all__ = ["Erasure", "Exporter", "Part"]
