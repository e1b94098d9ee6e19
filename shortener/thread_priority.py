"""Who goes first where threads share a core: the event loop's thread, before those that work behind it."""

import contextlib
import os
import sys
import threading

NICE = 5
"""How far the others step back; a thread that has the core to itself is not slowed."""


def step_back() -> None:
    """Lower this thread's priority, where the system gives threads one of their own (Linux). Cannot be undone."""
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):  # Forbidden by a sandbox, say: then all are equals, as elsewhere.
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)
