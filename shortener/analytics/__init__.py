"""Clicks in, statistics out."""

from shortener.analytics.model import Click, Device, Place
from shortener.analytics.ports import ClickStore, DescribeClick, GeoLocator, StatsReader
from shortener.analytics.service import AnalyticsService

__all__ = [
    "AnalyticsService",
    "Click",
    "ClickStore",
    "DescribeClick",
    "Device",
    "GeoLocator",
    "Place",
    "StatsReader",
]
