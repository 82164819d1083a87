"""The command line: find the command, load only what it needs, run it.

Every command is a module of this package with a typer app, loaded by name when it is called: `suanli --help` and
`suanli catalog` start without the numerical libraries that `suanli plan` needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from suanli.serving.kernel import start_light

if TYPE_CHECKING:
    import typer

COMMANDS = {
    "plan": "rank the deployments that answer a study",
    "explain": "where the time, energy and money of one deployment go",
    "cost": "bill, ways of paying, cash flow and what moves them, of one deployment",
    "init": "write a commented study file",
    "simulate": "one deployment, one trace, every request",
    "train": "training runs",
    "validate": "predictions against measurements",
    "catalog": "the facts: list, show, check, cite, diff",
    "diff": "two plans: how much came from inputs, how much from the plan",
}
USAGE_ERROR, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `suanli ARGUMENTS` and exit."""
    if arguments is None:
        start_light()
    given = list(sys.argv[1:] if arguments is None else arguments)
    known = [name for name in COMMANDS if find_spec(f"{__name__}.{name}")]
    name = given[0] if given else "--help"
    if name in known:
        _run(name, given[1:])
    elif name in ("--help", "-h", "help"):
        sys.stdout.write(_help(known))
    elif name == "--version":
        sys.stdout.write(f"suanli {version('suanli')}\n")
    else:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"accepted: {', '.join(known)}"
        sys.stderr.write(f"error: unknown command '{name}'; {hint}\n")
        sys.exit(USAGE_ERROR)
    sys.exit(0)


def _help(known: Sequence[str]) -> str:
    lines = [f"  {name:<10}{COMMANDS[name]}" for name in known]
    return "\n".join(
        [
            "suanli: which AI system, how many, and what a token costs on it",
            "",
            "usage: suanli COMMAND [options]      suanli COMMAND --help",
            "",
            *lines,
            "",
            "  suanli plan examples/qwen3-235b-azure.yaml --out out",
            "  suanli plan --model qwen3-32b --input 1024 --output 256 --rate 20/s --tpot '30 ms' --systems 'nvidia-*'",
            "",
        ]
    )


def _run(name: str, arguments: list[str]) -> None:
    module = import_module(f"{__name__}.{name}")
    command: typer.Typer | Callable[..., object] = getattr(module, f"{name}_app", None) or getattr(module, name)
    try:
        _app_of(command)(args=arguments, prog_name=f"suanli {name}")
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


def _app_of(command: typer.Typer | Callable[..., object]) -> typer.Typer:
    import typer  # noqa: PLC0415 (start-up time)

    if isinstance(command, typer.Typer):
        return command
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return app
