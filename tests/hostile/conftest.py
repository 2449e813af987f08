from __future__ import annotations

from tests.onhost.conftest import connect, link, root

__all__ = ["connect", "link", "root"]
