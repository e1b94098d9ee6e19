"""Runs the process: listeners, sockets, TLS, signals, systemd."""
