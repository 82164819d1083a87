"""Whether a replica of the compiled core is up. A replica goes by its first rank."""

from __future__ import annotations

from suanli.serving.fast_blocks import forget
from suanli.serving.fast_plan import drop_batch, rest
from suanli.serving.fast_records import DRAINING, OFF, STARTING, World, rank_at
from suanli.serving.kernel import kernel


@kernel
def turn(w: World, g: int, state: int, now: float) -> None:
    """Change the state of a replica; time in STARTING, UP and DRAINING counts as up."""
    group = rank_at(w, g)
    if STARTING <= group.state <= DRAINING and not STARTING <= state <= DRAINING:
        for r in range(g, g + group.group_ranks):
            rank_at(w, r).up_s += now - group.on_s
    if not STARTING <= group.state <= DRAINING and STARTING <= state <= DRAINING:
        group.on_s = now
    group.state = state


@kernel
def outstanding(w: World, g: int) -> int:
    """Requests that a replica has."""
    total = 0
    for r in range(g, g + rank_at(w, g).group_ranks):
        total += rank_at(w, r).running + rank_at(w, r).waiting
    return int(total)


@kernel
def wipe(w: World, g: int) -> None:
    """Lose all memory and the step in progress."""
    for r in range(g, g + rank_at(w, g).group_ranks):
        forget(w, r)
        drop_batch(w, r)
        rest(w, r)


@kernel
def switch_off(w: World, g: int, now: float) -> None:
    """A draining replica without requests is switched off."""
    if rank_at(w, g).state == DRAINING and outstanding(w, g) == 0:
        turn(w, g, OFF, now)
        wipe(w, g)
