"""The command ``graphrun cache``."""

from __future__ import annotations

import os
import sys
import time

from graphrun.cli.table import Column, render
from graphrun.runtime.opencl import cachedir, kernelcache

_TITLES = {
    kernelcache.POCL: "kernels compiled by PoCL",
    kernelcache.NOTES: "checksums of those",
    kernelcache.BINARIES: "programs kept for other drivers",
    kernelcache.FAILED: "sources that did not compile",
    kernelcache.VERDICTS: "verdicts on devices and kernels",
    kernelcache.TUNED: "choices that graphrun tune made",
}


def show() -> int:
    """Print what is in the cache, and where; return the exit status."""
    found = kernelcache.entries()
    now = time.time()
    rows = []
    for kind, title in _TITLES.items():
        of_kind = [e for e in found if e.kind == kind]
        size_bytes = sum(e.size_bytes for e in of_kind)
        used = _ago(now - max(e.used_at_s for e in of_kind)) if of_kind else "-"
        rows.append([title, f"{len(of_kind):,}", _size(size_bytes), used])
    total_bytes = sum(e.size_bytes for e in found)
    rows.append(["total", f"{len(found):,}", _size(total_bytes), ""])
    columns = [
        Column("what", right=False),
        Column("entries"),
        Column("size"),
        Column("last used", right=False),
    ]
    lines = [f"graphrun cache: {cachedir.cache_dir()}", "", render(columns, rows), ""]
    if not cachedir.enabled():
        lines.append("  it is switched off: GRAPHRUN_CACHE is 0, so nothing is read from it or written to it")
    elif not cachedir.can_be_written(cachedir.cache_dir()):
        lines.append("  it cannot be written; set GRAPHRUN_CACHE_DIR to a folder that can")
    pocl = os.environ.get("POCL_CACHE_DIR")
    if pocl:
        lines.append(f"  PoCL keeps its kernels in {pocl} (POCL_CACHE_DIR), which is not counted here")
    lines.append(
        f"  limit: {_size(kernelcache.limit_bytes())}; beyond it goes what was not used for longest"
        " (GRAPHRUN_CACHE_MIB)"
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def clear() -> int:
    """Delete everything in the cache; return the exit status."""
    count, size_bytes = kernelcache.clear()
    sys.stdout.write(
        f"graphrun cache: deleted {count:,} {'entry' if count == 1 else 'entries'},"
        f" {_size(size_bytes)}, from {cachedir.cache_dir()}\n"
    )
    left = kernelcache.entries()
    if left:
        sys.stderr.write(f"graphrun cache: {len(left):,} could not be deleted, such as {left[0].path}\n")
        return 1
    return 0


def _size(size_bytes: int) -> str:
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 2**20:
        return f"{size_bytes / 1024:.1f} KiB"
    return f"{size_bytes / 2**20:,.1f} MiB"


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
