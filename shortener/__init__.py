"""A URL shortener in one process: gRPC, REST and fast redirects, with every click counted exactly."""

__version__ = "0.1.0"
