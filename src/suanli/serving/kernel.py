"""Compiling plain Python functions with numba when, and only when, a simulation runs.

Functions marked with `kernel` are ordinary Python. `compiled` turns all of them into machine code. numba's disk cache
looks only at the function it caches, so the entry point carries a fingerprint of all kernel sources: changing any of
them makes a new entry, and the others need no cache of their own.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from suanli.serving.fast_state import World

LOG = logging.getLogger("suanli")

Function = TypeVar("Function", bound=Callable[..., Any])

# Compiled functions are called by one another only, and never divide by zero.
# They own no memory, so reference counting would only cost time.
_OPTIONS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy", "_nrt": False}

_INLINE: dict[Callable[..., Any], Literal["never", "always"]] = {}
_machine_code: dict[Callable[..., Any], Any] = {}


def kernel(function: Function) -> Function:
    """Mark a function for compilation."""
    _INLINE[function] = "never"
    return function


def inlined(function: Function) -> Function:
    """Mark a function for compilation inside its callers.

    A compiled function is optimised together with everything that it calls, so a deep chain of calls is optimised many
    times over. Inlining the upper end of the chain halves the time to compile.
    """
    _INLINE[function] = "always"
    return function


def _modules() -> list[ModuleType]:
    names = dict.fromkeys(function.__module__ for function in _INLINE)
    return [sys.modules[name] for name in names]


def _fingerprint() -> int:
    digest = hashlib.sha256()
    for module in _modules():
        digest.update(Path(str(module.__file__)).read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")


@lru_cache(maxsize=1)
def compiled(entry: Callable[[World], None]) -> Callable[[World], None]:
    """Compiled form of `entry`; the first call ever compiles for a while and says so in the log."""
    import numba  # noqa: PLC0415 (start-up time)
    from numba.core import event  # noqa: PLC0415

    class Announcement(event.Listener):
        def on_start(self, _: event.Event) -> None:
            if not said:
                LOG.warning("compiling the simulator for this machine, once (about half a minute)")
            said.append(True)

        def on_end(self, _: event.Event) -> None:
            pass

    said: list[bool] = []
    for function, inline in _INLINE.items():
        _machine_code[function] = numba.njit(function, inline=inline, **_OPTIONS)
    for module in _modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value in _machine_code:
                setattr(module, name, _machine_code[value])
    dispatcher = numba.njit(_entry_point(_machine_code[entry], _fingerprint()), cache=True, nogil=True)

    def call(world: World) -> None:
        with event.install_listener("numba:compile", Announcement()):
            dispatcher(world)

    return call


def _entry_point(code: Callable[[World], None], fingerprint: int) -> Callable[[World], None]:
    """The one function that is cached on disk; `fingerprint` is part of its cache key."""
    globals()["_start"] = code

    def run(world: World) -> None:
        if fingerprint:
            _start(world)  # type: ignore[name-defined]  # noqa: F821

    return run
