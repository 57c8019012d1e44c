"""From arguments to an exit code: 0 done, 2 a user's mistake (one line), 130 interrupted. Bugs keep their traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from rayl2o.cli.app import app
from rayl2o.cli.output import one_line
from rayl2o.errors import UserError

DONE, MISTAKE, INTERRUPTED = 0, 2, 130


def main(args: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        args: Without the program's name; None takes them from the command line.

    Returns:
        The exit code.
    """
    try:
        given = sys.argv[1:] if args is None else list(args)
        code = get_command(app).main(args=given, prog_name="rayl2o", standalone_mode=False)
    except UserError as error:
        return _mistake(str(error))
    except typer.TyperException as error:
        return _mistake(f"{error.format_message().rstrip('.')}; see rayl2o --help")
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit as stop:
        # Typer and rich end the process when the reader of a pipe has gone; both have quietened stdout by then.
        if isinstance(stop.__context__, BrokenPipeError):
            return INTERRUPTED
        raise
    return code if isinstance(code, int) else DONE


def _mistake(message: str) -> int:
    sys.stderr.write(f"error: {one_line(message)}\n")
    return MISTAKE
