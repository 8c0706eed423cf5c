"""The program ``endcap``: rooms offer commands as entry points, and only the one asked for is loaded."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points


GROUP = "endcap.commands"
_EXTRAS = "pip install 'endcap[server]' (or 'endcap[train]' for train and evaluate)"


def main() -> None:
    """Run the command that the first argument names."""
    commands = {command.name: command for command in entry_points(group=GROUP)}
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in commands:
        print(f"usage: endcap COMMAND …\n\ncommands: {', '.join(sorted(commands))}")
        print("\n'endcap COMMAND --help' says more.")
        sys.exit(0 if name in {"-h", "--help"} else _unknown(name, commands))
    _run(name, commands[name])


def _unknown(name: str, commands: Iterable[str]) -> str:
    near = "".join(f": did you mean {each!r}?" for each in get_close_matches(name, commands, n=1))
    return f"endcap: command {name!r} does not exist{near}"


def _run(name: str, entry_point: EntryPoint) -> None:
    """Run a command: a function, or the Typer application of several."""
    try:
        import typer

        command = entry_point.load()
    except ModuleNotFoundError as error:
        sys.exit(f"endcap {name} needs {error.name}, which is not installed: {_EXTRAS}")
    app = command
    if not isinstance(app, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name)(command)
    app(sys.argv[2:], prog_name=f"endcap {name}")
