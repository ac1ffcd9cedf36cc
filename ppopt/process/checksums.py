"""Checksums for stored results, so that a damaged or edited file is never taken as found or proven."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_KEY = "checksum"


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Add the checksum of a mapping's contents."""
    return {**content, _KEY: _checksum(content)}


def is_as_written(content: Mapping[str, Any]) -> bool:
    """Return whether a mapping still matches the checksum that `with_checksum` added."""
    return content.get(_KEY) == _checksum({key: value for key, value in content.items() if key != _KEY})


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
