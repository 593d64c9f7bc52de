"""A live count of the predicted rows."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selfattn_lm.inference.writers import Target

log = logging.getLogger(__name__)

ShowRows = Callable[[int], None]  # called with the number of rows predicted so far


@contextmanager
def row_counter(target: Target) -> Iterator[ShowRows]:
    """Give a function that shows the number of predicted rows on a terminal's standard error.

    It shows nothing if progress is not logged or the rows themselves appear on a terminal.
    """
    rows_are_shown = target.path is None and sys.stdout.isatty()
    if rows_are_shown or not sys.stderr.isatty() or not log.isEnabledFor(logging.INFO):
        yield show_nothing
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=None)

        def show(rows: int) -> None:
            progress.update(task, completed=rows)

        yield show


def show_nothing(rows: int) -> None:
    """Ignore the number of rows."""
