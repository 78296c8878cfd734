"""A progress bar on standard error: tqdm's where it is installed, else a counter; nothing when piped."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType
from typing import Any, TextIO


class Progress:
    """Counts the steps of a job.

    Parameters
    ----------
    total : int
        Steps of the whole job.
    stream : file, optional
        Standard error by default; nothing is shown where it is not a terminal.

    Examples
    --------
    >>> with Progress(2) as progress:
    ...     progress.label("first")
    ...     progress.advance()
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._total = total
        self._done = 0
        self._text = ""
        self._shown = bool(getattr(self._stream, "isatty", lambda: False)())
        self._bar = self._tqdm() if self._shown else None

    def _tqdm(self) -> Any:
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return tqdm(
            total=self._total, file=self._stream, leave=False, dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [{elapsed}]",
        )  # fmt: skip

    def label(self, text: str) -> None:
        """Say what is being done."""
        self._text = text
        if self._bar is not None:
            self._bar.set_description_str(f"{text:<28}")
        elif self._shown:
            self._show()

    def advance(self, steps: int = 1) -> None:
        """Count steps that are done."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
        elif self._shown:
            self._show()

    def write(self, text: str) -> None:
        """Print lines on standard output, above the bar."""
        if self._bar is not None:
            self._bar.clear()
        elif self._shown:
            self._wipe()
        print(text, flush=True)
        if self._bar is not None:
            self._bar.refresh()

    def _show(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        line = f"[{self._done:>{len(str(self._total))}}/{self._total}] {self._text}"
        self._stream.write("\r" + line[:width].ljust(width))
        self._stream.flush()

    def close(self) -> None:
        """Remove the bar, so that what follows starts on a clean line."""
        if self._bar is not None:
            self._bar.close()
        elif self._shown:
            self._wipe()

    def _wipe(self) -> None:
        self._stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
        self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
