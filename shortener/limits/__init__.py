"""Limits: how much one address or one account may ask for, in bounded memory. Knows no wire and no framework."""

from shortener.limits.limiter import Limiter, Rate, Take, check_all, gauges_of, take_all
from shortener.limits.model import Counted, address_key
from shortener.limits.service import RateLimits

__all__ = ["Counted", "Limiter", "Rate", "RateLimits", "Take", "address_key", "check_all", "gauges_of", "take_all"]
