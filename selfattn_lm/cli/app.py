"""The command line: parse, call the verb of the same name, print what it returns."""

import codecs
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

from cyclopts import App, ArgumentCollection, Parameter, convert
from cyclopts.exceptions import CycloptsError

from selfattn_lm import __version__, verbs
from selfattn_lm.config import STUDIED, STUDIED_PERCENTAGES, Preset, Settings, flatten
from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.memory import keep_memory

_TEXTS = ("--text", "--data.text-column", "--data.label-column")  # other arguments may be file names

_given: list[str] = []  # the flags of this call, as `model.width`: a default asked for is more than a default


def _remember(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    _given[:] = [a.name.removeprefix("--").replace("-", "_") for a in arguments if a.tokens]


def _strict(kind: Any, tokens: Sequence[Any]) -> Any:
    """Convert as cyclopts does, but refuse a fraction where a whole number belongs, and read texts as UTF-8."""
    tokens = [token.evolve(value=_decoded(token.value)) if token.keyword in _TEXTS else token for token in tokens]
    value = tokens[0].value.strip()
    words = [word for part in get_args(kind) for word in get_args(part)]
    whole = kind is int or (int in get_args(kind) and value not in words and float not in get_args(kind))
    if whole and not value.lstrip("+-").isdecimal():
        raise ValueError
    return convert(kind, tokens)


def _decoded(argument: str) -> str:
    """An argument read as UTF-8 where Python, by the locale, could not read some of its bytes."""
    try:
        return argument.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return argument


def _write_utf8() -> None:
    """Let what is printed be UTF-8 whatever the locale says, and an error of a stream's encoding impossible."""
    codecs.register_error("selfattn_lm", _printable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="selfattn_lm")


def _printable(error: UnicodeError) -> tuple[bytes, int]:
    """UTF-8 for bytes of a file name that Python, by the locale, could not read; else an escape."""
    assert isinstance(error, UnicodeEncodeError)
    unprintable = _decoded(error.object[error.start : error.end])
    return unprintable.encode("utf-8", "backslashreplace"), error.end


app = App(
    name="selfattn",
    help="A small self-attention text classifier that you own: train it, evaluate it, predict with it.",
    version=__version__,
    config=[_remember],
    suppress_keyboard_interrupt=False,  # `main` tells what was kept
    default_parameter=Parameter(negative_iterable=(), converter=_strict),
)
app.command(verbs.evaluate)
app.command(verbs.predict)
app.command(verbs.export)


def train(
    data: str | None = None,
    /,
    *,
    config: Path | None = None,
    out: Path | None = None,
    init: Path | None = None,
    preset: Preset = "accurate",
    pretrain: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    settings: Annotated[Settings | None, Parameter(name="*")] = None,
) -> Any:
    how: dict[str, Any] = dict(init=init, preset=preset, pretrain=pretrain, resume=resume, overwrite=overwrite)
    return verbs.train(data, config=config, out=out, **how, **_asked(settings))


def pretrain(
    texts: str | None = None,
    /,
    *,
    config: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    settings: Annotated[Settings | None, Parameter(name="*")] = None,
) -> Any:
    return verbs.pretrain(texts, config=config, out=out, resume=resume, overwrite=overwrite, **_asked(settings))


def study(
    data: str | None = None,
    /,
    *,
    config: Path | None = None,
    out: Path | None = None,
    kinds: str = ",".join(STUDIED),
    shares: str = ",".join(map(str, STUDIED_PERCENTAGES)),
    seeds: int = 1,
    settings: Annotated[Settings | None, Parameter(name="*")] = None,
) -> Any:
    try:
        percent = tuple(map(float, shares.split(",")))
    except ValueError:
        raise UserError(f"--shares: {shares!r} is not a list of numbers such as 1,10,100.") from None
    names = tuple(kind.strip() for kind in kinds.split(","))
    return verbs.study(data, config=config, out=out, kinds=names, shares=percent, seeds=seeds, **_asked(settings))


def _asked(settings: Settings | None) -> dict[str, Any]:
    return {name: value for name, value in flatten(asdict(settings or Settings())).items() if name in _given}


for command in (train, pretrain, study):
    command.__doc__ = getattr(verbs, command.__name__).__doc__
    app.command(command)


@contextmanager
def _log_lines_on_stderr() -> Iterator[None]:
    """Show what the package logs while a command runs; afterwards its logger is as it was before.

    Left in place, the handler would write to this `sys.stderr` for as long as the process lives, also when its owner,
    such as a test or a notebook, has closed it and put another in its place.
    """
    logger = logging.getLogger("selfattn_lm")
    handlers, level = logger.handlers[:], logger.level
    logger.handlers[:] = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, if this is the thread that gets signals."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 2 for an error the user can fix, 130 for Ctrl-C or SIGTERM."""
    _write_utf8()
    keep_memory()
    try:
        with _sigterm_as_ctrl_c():
            _run(arguments)
    except (UserError, CycloptsError) as error:
        return _fail(str(error))
    except Interrupted as interruption:
        return _fail(str(interruption), code=130)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written.", code=130)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        _forget_output()
    except OSError as error:  # what nothing else has reported, such as a full disk below standard output
        if _forget_output():
            place = "standard output: "
        elif error.filename is not None:
            place = f"{error.filename}: "
        else:
            place = ""
        reason = f"{place}the system cannot read or write ({error.strerror or error})"
        return _fail(f"{reason}; free the disk or name another place.")
    return 0


def _run(arguments: Sequence[str] | None) -> None:
    """Run a command and print what it returns."""
    with _log_lines_on_stderr():
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    if hasattr(result, "__rich__"):
        from rich.console import Console

        Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(result)
    elif result is not None and str(result):
        print(result)
    sys.stdout.flush()  # now, as an error when Python ends is a traceback


def _fail(reason: str, code: int = 2) -> int:
    """Say in one line why a command ended, if it can be said."""
    with suppress(OSError):
        print(f"selfattn: {' '.join(reason.split())}", file=sys.stderr)
    return code


def _forget_output() -> bool:
    """Let what cannot be written to standard output be written to nowhere, so that Python can end.

    Returns whether there is anything that cannot be written.
    """
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return True
    return False
