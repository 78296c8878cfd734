"""Which kernel families of a device are trusted (see `families`)."""

from __future__ import annotations

from typing import Any


def blocked_families(device: Any) -> frozenset[str]:
    """The kernel families that failed on this device."""
    return frozenset()
