"""The command line: parse, call the function of the same name, print what it returns."""

import inspect
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError, UnknownOptionError

from selfattn_lm import __version__
from selfattn_lm.cli.commands import COMMANDS
from selfattn_lm.cli.options import GivenFlags, convert_strictly, write_utf8
from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.memory import keep_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 2 for an error that the user can fix, 130 for Ctrl-C or SIGTERM.
    """
    write_utf8()
    keep_memory()
    try:
        with _sigterm_as_ctrl_c():
            _print_result(_run(arguments))
    except (UserError, CycloptsError) as error:
        return _fail(str(error))
    except Interrupted as interruption:
        return _fail(str(interruption), code=130)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written.", code=130)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        _drop_output()
    except OSError as error:  # one that nothing else reports, such as a full disk
        return _fail(_describe_system_error(error))
    return 0


def _run(arguments: Sequence[str] | None) -> Any:
    """Parse the arguments and call the command; returns its result."""
    given = GivenFlags()
    app = _build_app(given)
    with _log_to_stderr():
        command, bound = _parse(app, arguments)
        if "given" in inspect.signature(command).parameters:
            bound.arguments["given"] = given
        return command(*bound.args, **bound.kwargs)


def _parse(
    app: App, arguments: Sequence[str] | None
) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """Return the command and its arguments; `--help` is a command too."""
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except UnknownOptionError as error:
        if error.token.value != "-":
            raise
        reason = "-: only the FILE of `selfattn predict` may be standard input"
        raise UserError(f"{reason}; name a file, a folder or a hub name.") from None
    return command, bound


def _build_app(given: GivenFlags) -> App:
    """Build the command line of one call, which notes the given flags."""
    app = App(
        name="selfattn",
        help="Train, evaluate and use small self-attention text classifiers that you own.",
        version=__version__,
        config=[given],
        default_parameter=Parameter(negative_iterable=(), converter=convert_strictly),
    )
    for command in COMMANDS:
        app.command(command)
    return app


def _print_result(result: Any) -> None:
    if hasattr(result, "__rich__"):
        from rich.console import Console

        width = None
        if not sys.stdout.isatty():
            width = 160
        Console(highlight=False, width=width).print(result)
    elif result is not None and str(result):
        print(result)
    sys.stdout.flush()  # an error at Python's exit would be a traceback


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Show the log of the package while a command runs; restore its logger afterwards.

    A handler left in place would write to this `sys.stderr` for as long as the process lives, even
    after a test or a notebook has closed it.
    """
    logger = logging.getLogger("selfattn_lm")
    handlers = logger.handlers[:]
    level = logger.level
    logger.handlers[:] = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Make SIGTERM end a command as Ctrl-C does, if this is the thread that receives signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(reason: str, code: int = 2) -> int:
    """Print in one line why a command ended, if it can be printed; returns the exit code."""
    line = " ".join(reason.split())
    with suppress(OSError):
        print(f"selfattn: {line}", file=sys.stderr)
    return code


def _describe_system_error(error: OSError) -> str:
    """Say what the system cannot read or write."""
    place = ""
    if _drop_output():
        place = "standard output: "
    elif error.filename is not None:
        place = f"{error.filename}: "
    reason = error.strerror or error
    advice = "free the disk or name another place"
    return f"{place}the system cannot read or write ({reason}); {advice}."


def _drop_output() -> bool:
    """Discard what cannot be written to standard output, so that Python can end.

    Returns:
        Whether there was anything to discard.
    """
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return True
    return False
