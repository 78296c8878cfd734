"""Threads that work together, and stop together."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from graphrun.errors import DTypeError, ExecutionError, GraphError, OutOfRangeError, message
from graphrun.graph.site import user_site

_logger = logging.getLogger("graphrun")
_LOOK_SECONDS = 1.0  # between two looks at whether threads have ended by themselves


class Coordinator:
    """Lets threads ask all to stop, and tells the first error of any of them to who waits.

    Parameters
    ----------
    clean_stop_exception_types : tuple of exception classes, optional
        What ends all threads without being an error: `errors.OutOfRangeError` by default.

    Examples
    --------
    >>> import threading
    >>> import graphrun as gr
    >>> coord = gr.train.Coordinator()
    >>> counted = []
    >>> def work():
    ...     with coord.stop_on_exception():
    ...         while not coord.should_stop():
    ...             counted.append(1)
    ...             if len(counted) == 3:
    ...                 coord.request_stop()
    >>> thread = threading.Thread(target=work)
    >>> thread.start()
    >>> coord.join([thread])
    >>> len(counted)
    3
    """

    def __init__(self, clean_stop_exception_types: Iterable[type[BaseException]] | None = None) -> None:
        kinds = (OutOfRangeError,) if clean_stop_exception_types is None else clean_stop_exception_types
        self._clean: tuple[type[BaseException], ...] = tuple(kinds)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._fault: BaseException | None = None
        self._joined = False
        self._threads: set[threading.Thread] = set()

    def request_stop(self, ex: Any = None) -> None:
        """Ask all threads to stop.

        Parameters
        ----------
        ex : exception, or what ``sys.exc_info()`` returns, optional
            What went wrong; the first one is raised by `join`, unless it is a clean stop.  After `join` it
            is raised here.
        """
        fault = ex[1] if isinstance(ex, tuple) else ex
        if fault is not None and not isinstance(fault, BaseException):
            raise DTypeError(
                message(f"request_stop({ex!r})", where="Coordinator", site=user_site(),
                        expected="an exception, or what sys.exc_info() returns")
            )  # fmt: skip
        with self._lock:
            if isinstance(fault, self._clean):
                fault = None
            if self._joined and fault is not None:
                raise fault
            if self._stop.is_set():
                return
            if fault is not None and self._fault is None:
                _logger.info("a thread of a Coordinator ends with %s: %s", type(fault).__name__, fault)
                self._fault = fault
            self._stop.set()

    def clear_stop(self) -> None:
        """Forget that a stop was asked for, and the error; `should_stop` is false again."""
        with self._lock:
            self._joined = False
            self._fault = None
            self._stop.clear()

    def should_stop(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.is_set()

    @contextlib.contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """Context manager for a thread's work: an exception asks all to stop, and goes no further."""
        try:
            yield
        except BaseException:
            self.request_stop(sys.exc_info())

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Wait until a stop is asked for, or `timeout` seconds; return whether it was."""
        return self._stop.wait(timeout)

    def register_thread(self, thread: threading.Thread) -> None:
        """Let `join` wait for a thread that it is not given."""
        with self._lock:
            self._threads.add(thread)

    def join(
        self,
        threads: Iterable[threading.Thread] | None = None,
        stop_grace_period_secs: float = 120,
        ignore_live_threads: bool = False,
    ) -> None:
        """Wait for the threads to end, and raise the first error that one of them has told.

        Parameters
        ----------
        threads : iterable of threads, optional
            Beside those that are registered.
        stop_grace_period_secs : float
            How long they may take once a stop is asked for.
        ignore_live_threads : bool
            Say in the log alone which ones still run afterwards; else it is an error.

        Raises
        ------
        ExecutionError
            If threads still run.
        """
        with self._lock:
            waited = list(self._threads.union(threads or ()))
        while any(t.is_alive() for t in waited) and not self.wait_for_stop(_LOOK_SECONDS):
            pass
        end = time.monotonic() + stop_grace_period_secs
        for t in waited:
            # Shared between all, and at least a look at each.
            t.join(max(0.001, end - time.monotonic()))
        alive = [t.name for t in waited if t.is_alive()]
        with self._lock:
            self._joined = True
            self._threads.clear()
            if self._fault is not None:
                raise self._fault
        if alive and ignore_live_threads:
            _logger.info("a Coordinator has stopped; threads that still run: %s", ", ".join(alive))
        elif alive:
            raise ExecutionError(
                message(
                    f"Coordinator stopped with threads still running: {', '.join(alive)}", site=user_site(),
                    expected=f"that they end within {stop_grace_period_secs} seconds",
                    fix="let their loops ask coord.should_stop(), or pass ignore_live_threads=True",
                )
            )  # fmt: skip

    @property
    def joined(self) -> bool:
        """Whether `join` has returned."""
        return self._joined

    def raise_requested_exception(self) -> None:
        """Raise the error that a thread has told, if there is one."""
        with self._lock:
            if self._fault is not None:
                raise self._fault


class LooperThread(threading.Thread):
    """A thread that does something again and again until its coordinator stops.

    Parameters
    ----------
    coord : Coordinator
    timer_interval_secs : float or None
        From one beginning to the next; None: without a pause.
    target : function, optional
        What to do; without it a subclass defines `run_loop`.
    args, kwargs : optional
        For `target`.
    """

    def __init__(
        self,
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any] | None = None,
        args: Any = None,
        kwargs: Any = None,
    ) -> None:
        if not isinstance(coord, Coordinator):
            raise DTypeError(
                message(f"coord={coord!r}", where="LooperThread", site=user_site(), expected="a Coordinator")
            )
        if target is None and (args or kwargs):
            raise GraphError(
                message("args without a target", where="LooperThread", site=user_site(),
                        fix="pass target, the function that takes them")
            )  # fmt: skip
        super().__init__(daemon=True)
        self._coord = coord
        self._interval = timer_interval_secs
        self._work = target
        self._work_args = tuple(args or ())
        self._work_kwargs = dict(kwargs or {})
        coord.register_thread(self)

    @staticmethod
    def loop(
        coord: Coordinator, timer_interval_secs: float | None, target: Callable[..., Any],
        args: Any = None, kwargs: Any = None,
    ) -> LooperThread:  # fmt: skip
        """Start a thread that calls `target` until the coordinator stops, and return it."""
        looper = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        looper.start()
        return looper

    def run(self) -> None:
        with self._coord.stop_on_exception():
            self.start_loop()
            if self._interval is None:
                while not self._coord.should_stop():
                    self.run_loop()
            else:
                due = time.monotonic()
                while not self._coord.wait_for_stop(max(0.0, due - time.monotonic())):
                    due += self._interval
                    self.run_loop()
            self.stop_loop()

    def start_loop(self) -> None:
        """Called once, before the first turn."""

    def stop_loop(self) -> None:
        """Called once, after the last turn."""

    def run_loop(self) -> None:
        """Called in each turn."""
        if self._work is not None:
            self._work(*self._work_args, **self._work_kwargs)
