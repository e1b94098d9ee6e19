"""How many descriptors this process may have open, and so how many connections.

Connections must never use up all of them: journal and database open files while they run.
"""

import dataclasses
import logging
import resource
from typing import Any

from shortener.config.sections import Config

log = logging.getLogger(__name__)

RESERVED = 256
"""Descriptors kept for everything but connections: database, journal, listeners, and what just comes and goes."""
_GRPC_PORTS = 3
_CONNECTIONS_MIN = 4


def within_open_files(config: Config) -> Config:
    """Raise the limit as far as the configured connections need it, and return the configuration that it allows.

    Where the hard limit is too low, every listener may have the same part of what it was to have; one log line says so.
    """
    wanted = config.redirect.connections_max + config.gateway.connections_max
    wanted += _GRPC_PORTS * config.grpc.connections_max
    allowed = _raised(wanted + RESERVED)
    if allowed >= wanted + RESERVED:
        return config
    part = max(0, allowed - RESERVED) / wanted

    fitted = {name: _fitted(getattr(config, name), part) for name in ("grpc", "gateway", "redirect")}
    facts = {"open_files_max": allowed} | {name: section.connections_max for name, section in fitted.items()}
    log.warning("the limit of open files (RLIMIT_NOFILE) allows fewer connections than configured", extra=facts)
    return dataclasses.replace(config, **fitted)


def _fitted(section: Any, part: float) -> Any:  # any section that has `connections_max`
    return dataclasses.replace(section, connections_max=max(_CONNECTIONS_MIN, int(section.connections_max * part)))


def _raised(wanted: int) -> int:
    """Raise the soft limit to `wanted` if the hard one allows, and return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    best = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (best, hard))
    except (OSError, ValueError):  # a sandbox forbids it
        return soft
    return best
