"""The configuration: its sections, and how file and environment are read and checked."""
