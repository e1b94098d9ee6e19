"""Clicks in, statistics out."""
