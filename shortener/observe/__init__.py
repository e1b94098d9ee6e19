"""Logs, metrics, request durations, the lag of the event loop."""
