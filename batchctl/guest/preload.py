"""Modules imported once, in the fork server, for all workers to share.

Each is first imported in a throw-away child: a module that starts threads, or touches the GPU, cannot be forked from,
and once imported it could not be got rid of. Only what passes there is imported here. Numeric libraries are held to
one thread while they are loaded, for those that start their threads then; workers raise the caps in their own
environment.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Dict, List, Tuple

from .config import Job
from .limits import THREAD_VARIABLES
from .throwaway import ChildFailed, ask_child


def load(job: Job) -> List[Tuple[str, str]]:
    """Import what `job.preload` names and may be imported; (module, reason) of each that was refused."""
    if not job.preload:
        return []
    refused = []
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    try:
        for name in job.preload:
            try:
                reason = str(ask_child(lambda name=name: _try(name))["reason"])  # type: ignore[misc]
                if not reason:
                    importlib.import_module(name)
            except (ChildFailed, Exception) as error:
                reason = str(error)
            if reason:
                refused.append((name, reason))
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return refused


def _try(name: str) -> Dict[str, Any]:
    importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return {"reason": "importing it starts %d threads, which a fork would lose" % (threads - 1)}
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        return {"reason": "importing it initialises CUDA, which cannot be used after a fork"}
    return {"reason": ""}
