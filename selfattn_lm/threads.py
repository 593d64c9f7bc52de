"""Threads that each compute on one core: torch gives an operation of one thread several cores."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

# Starting threads changes, for a moment, a number that all threads of the process share.
_starting = threading.Lock()


def thread_count() -> int:
    """Count the threads that torch gives to one operation of the calling thread."""
    with _starting:  # a thread that uses torch for the first time would get a number of no meaning
        return torch.get_num_threads()


def single_core_threads(count: int) -> ThreadPoolExecutor:
    """Start threads that each compute on one core, and leave all other threads as they are.

    `torch.set_num_threads` sets two numbers: that of the calling thread, and the one with which new
    threads begin. When all threads have set their own, another one puts the second number back.
    """
    with _starting:
        pool = ThreadPoolExecutor(count, "selfattn")
        with ThreadPoolExecutor(1) as other:
            _start(pool, count, other)
        return pool


def _start(pool: ThreadPoolExecutor, count: int, other: ThreadPoolExecutor) -> None:
    for_new_threads = other.submit(torch.get_num_threads).result()
    together = threading.Barrier(count + 1)

    def limit() -> None:
        torch.get_num_threads()  # now: a thread takes the shared number when it first asks for one
        together.wait()
        torch.set_num_threads(1)
        together.wait()

    def put_back() -> None:
        together.wait()
        together.wait()
        torch.set_num_threads(for_new_threads)

    try:
        started = [other.submit(put_back)]
        for _ in range(count):
            started.append(pool.submit(limit))
    except RuntimeError:  # the system gives no more threads
        together.abort()
        raise
    for future in started:
        future.result()


def _replace_lock() -> None:
    """Make a lock that is free: in a forked process another thread's lock is never released."""
    global _starting
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_replace_lock)
