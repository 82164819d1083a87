"""Compiling plain Python functions with numba when, and only when, a simulation runs.

Functions marked with `kernel` are ordinary Python. `compiled` turns all of them into machine code. numba's disk cache
looks only at the function it caches, so the entry point carries a fingerprint of all kernel sources: changing any of
them makes a new entry, and the others need no cache of their own.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np

LOG = logging.getLogger("suanli")

Code = Any  # objects of numba and of code generation, and records of compiled code

Function = TypeVar("Function", bound=Callable[..., Code])

# Compiled functions are called by one another only, and never divide by zero.
# They own no memory, so reference counting would only cost time.
_OPTIONS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy", "_nrt": False}

HIDDEN = "scipy.linalg"
_LIGHT: list[bool] = []  # not empty in a process that runs one command
_INLINE: dict[Callable[..., Code], Literal["never", "always"]] = {}
_ACCESSORS: dict[Callable[..., Code], tuple[np.dtype[Any], str, str | None]] = {}


def kernel(function: Function) -> Function:
    """Mark a function for compilation."""
    _INLINE[function] = "never"
    return function


def inlined(function: Function) -> Function:
    """Mark a function for compilation inside its callers.

    A compiled function is optimised together with everything that it calls, so a deep chain of calls is optimised many
    times over. Inlining the upper end of the chain saves that.
    """
    _INLINE[function] = "always"
    return function


def accessor(dtype: np.dtype[Any], array: str, width: str | None = None) -> Callable[[Function], Function]:
    """Mark a function that returns a record of an array; compiled code reads and writes it in place.

    The first argument is a record that holds the address of the array as `array` and, where it has rows, their length
    as `width`. The body is never run.
    """

    def mark(function: Function) -> Function:
        _ACCESSORS[function] = (dtype, array, width)
        return function

    return mark


def _modules() -> list[ModuleType]:
    names = dict.fromkeys(function.__module__ for function in (*_ACCESSORS, *_INLINE))
    return [sys.modules[name] for name in names]


def _fingerprint() -> int:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for module in _modules():
        digest.update(Path(str(module.__file__)).read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")


def _record_getter(dtype: np.dtype[Any], array: str, width: str | None) -> Code:
    """Intrinsic function for compiled code: address + (row * width + place) * size, as a record."""
    from numba.core import cgutils, types  # noqa: PLC0415 (start-up time)
    from numba.extending import intrinsic  # noqa: PLC0415
    from numba.np.numpy_support import from_dtype  # noqa: PLC0415

    record = from_dtype(dtype)
    member: Callable[..., Code] = cgutils.get_record_member

    def code(context: Code, builder: Code, signature: Code, arguments: Code) -> Code:
        world = signature.args[0]
        word = context.get_value_type(types.int64)

        def field(name: str) -> Code:
            return builder.load(member(builder, arguments[0], world.offset(name), word))

        place = arguments[-1]
        if width is not None:
            place = builder.add(builder.mul(arguments[1], field(width)), place)
        offset = builder.mul(place, context.get_constant(types.int64, dtype.itemsize))
        return builder.inttoptr(builder.add(field(array), offset), context.get_value_type(record))

    if width is None:

        @intrinsic
        def get(_: Code, world: Code, place: Code) -> Code:  # noqa: ARG001
            return record(world, types.int64), code

        return get

    @intrinsic
    def get_in_row(_: Code, world: Code, row: Code, place: Code) -> Code:  # noqa: ARG001
        return record(world, types.int64, types.int64), code

    return get_in_row


@contextmanager
def _without_scipy() -> Iterator[None]:
    """Hide scipy.linalg while numba looks for its BLAS, which takes a third of a second and serves no kernel here.

    In this process numba then has no linear algebra, so only a command asks for it, never the library.
    """
    if not _LIGHT or HIDDEN in sys.modules:
        yield
        return
    sys.modules[HIDDEN] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[HIDDEN]


def start_light() -> None:
    """Let a process that runs one command load numba without SciPy's linear algebra."""
    _LIGHT.append(True)


@lru_cache(maxsize=1)
def compiled(entry: Callable[[Code], None]) -> Callable[[Code], None]:
    """Compiled form of `entry`, to be called with an array of one record.

    The first call ever on a machine compiles for a while and says so in the log.
    """
    with _without_scipy():
        import numba  # noqa: PLC0415 (start-up time)
        from numba.core import event  # noqa: PLC0415

    class Announcement(event.Listener):
        def on_start(self, _: event.Event) -> None:
            if not said:
                LOG.warning("compiling the simulator for this machine, once (about a minute)")
            said.append(True)

        def on_end(self, _: event.Event) -> None:
            pass

    said: list[bool] = []
    machine: dict[Code, Code] = {function: _record_getter(*parts) for function, parts in _ACCESSORS.items()}
    machine |= {function: numba.njit(function, inline=inline, **_OPTIONS) for function, inline in _INLINE.items()}
    for module in _modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value in machine:
                setattr(module, name, machine[value])
    globals()["_start"] = machine[entry]
    dispatcher = numba.njit(_entry_point(_fingerprint()), cache=True, nogil=True)

    def call(world: Code) -> None:
        with _without_scipy(), event.install_listener("numba:compile", Announcement()):
            dispatcher(world)

    return call


def _entry_point(fingerprint: int) -> Callable[[Code], None]:
    """The one function that is cached on disk; `fingerprint` is part of its cache key."""

    def run(world: Code) -> None:
        if fingerprint:
            _start(world[0])  # type: ignore[name-defined]  # noqa: F821

    return run
