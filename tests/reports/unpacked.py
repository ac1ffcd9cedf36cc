"""The data that a page holds in compressed form."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any


def unpacked(page: str, name: str) -> Any:
    """Read the data of a page's script element."""
    (text,) = re.findall(rf'<script type="text/plain" id="{name}">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(zlib.decompress(base64.b64decode(text)))
