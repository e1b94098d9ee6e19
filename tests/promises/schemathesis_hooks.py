"""Hooks that schemathesis loads: they change requests of the REST API before they are sent."""

import itertools
import re
from typing import Any

import schemathesis
from schemathesis.generation.case import Case
from schemathesis.generation.meta import TestPhase
from schemathesis.hooks import HookContext

KEY = "Idempotency-Key"
NUMBERS = itertools.count()


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, object]) -> None:
    """Make good idempotency keys unique where links are followed: else an earlier sequence, whose link has been deleted
    since, is answered again with that link, and the check that what was made can be deleted fails.
    """
    is_stateful = case.meta is not None and case.meta.phase.name is TestPhase.STATEFUL
    key = case.headers.get(KEY) if case.headers else None
    if is_stateful and key is not None and re.fullmatch("[!-~]{1,200}", key):
        case.headers[KEY] = f"{key}-{next(NUMBERS)}"
