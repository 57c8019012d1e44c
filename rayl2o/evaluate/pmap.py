"""An ordered map over local processes, for whoever takes a ``pmap`` and would else be given the built-in map."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

import torch

from rayl2o.errors import UserError

A = TypeVar("A")
B = TypeVar("B")


class ParallelMap(Protocol):
    """What a ``pmap`` is: the built-in map, :func:`process_map`, or a Ray one. Results come in the order of the items."""

    def __call__(self, function: Callable[[A], B], items: Iterable[A], /) -> Iterable[B]:
        """Applies a module-level function to every item."""


def process_map(workers: int) -> ParallelMap:
    """An ordered map over ``workers`` fresh processes, each with torch on one thread and denormal numbers treated as here.

    Results are yielded lazily and in order, so a caller can show progress. Functions and items must be importable and
    serializable (module-level functions, frozen dataclasses, numpy arrays). An exception of the function is raised here
    with the worker's traceback as its cause. Leaving the iteration early, by an exception, Ctrl-C or the death of
    this process, ends all workers at once.

    Raises:
        UserError: If ``workers`` is less than 1.
    """
    if workers < 1:
        raise UserError("the number of workers must be at least 1", value=workers, mend="use 1 or more")

    def pmap(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        return _pooled(workers, function, items)

    return pmap


def _pooled(workers: int, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    # Spawned, not forked: torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    leash, held = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(leash, _flushes_denormals())
    )
    try:
        for future in [executor.submit(function, item) for item in items]:
            yield future.result()
    except BaseException:
        held.close()  # ends workers that are in the middle of an item: shutting down would wait for them
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        held.close()
        leash.close()


def _flushes_denormals() -> bool:
    return float(torch.tensor(1e-40) * 1) == 0.0  # torch has a setter only


def _start_worker(leash: Connection, flush_denormals: bool) -> None:
    # Ctrl-C reaches the whole process group: workers die of it at once, without a traceback each.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    torch.set_flush_denormal(flush_denormals)
    threading.Thread(target=_end_with_parent, args=(leash,), daemon=True).start()


def _end_with_parent(leash: Connection) -> None:
    """Ends this process once the other end of the pipe is closed, on purpose or because its owner was killed."""
    wait([leash])
    os._exit(1)
