"""Which threads compute the batches of a prediction."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from selfattn_lm.hardware import Device
from selfattn_lm.threads import single_core_threads, thread_count

T = TypeVar("T")


class Executor:
    """Computes batches, on a CPU one on each core at the same time.

    All cores together on one batch would wait for each other again and again. The threads are
    started when they are first needed and end with the executor, which several threads may use at
    the same time.

    Args:
        device: Where the batches are computed.
        threads: How many cores to use; by default as many as torch uses for an operation.
    """

    def __init__(self, device: Device, threads: int | None = None) -> None:
        self.device = device
        self.threads = threads
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._started_for = (0, 0)  # a process and a number of threads

    def run(self, compute: Callable[[T], None], batches: Sequence[T]) -> None:
        """Compute all batches; an error in one of them is raised here."""
        threads = self.threads or thread_count()
        several_at_once = min(len(batches), threads) > 1
        if self.device == "cpu" and (several_at_once or self.threads is not None):
            for _ in self._workers(threads).map(compute, batches):
                pass
        else:
            for batch in batches:
                compute(batch)

    def _workers(self, threads: int) -> ThreadPoolExecutor:
        """The threads; new ones in a forked process, which has none of its parent's."""
        wanted = (os.getpid(), threads)
        with self._lock:
            if self._pool is None or self._started_for != wanted:
                self._pool = single_core_threads(threads)
                self._started_for = wanted
            return self._pool
