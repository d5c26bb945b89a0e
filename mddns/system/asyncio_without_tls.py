"""asyncio, imported without TLS until a program uses TLS.

asyncio always imports ``ssl``, which would be a third of the memory that a registry adds to a program. mddns uses no
TLS. So if neither is imported yet, asyncio's two modules that use TLS get lazy modules under the names ``ssl`` and
``sslproto``; their first use imports the real modules and replaces them. They do not stay in ``sys.modules``:
``import ssl`` gives the real module, and TLS with asyncio works as usual. This has no effect if asyncio is imported
already, or if a version of asyncio uses other names of ``ssl`` during its import.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any, Final

_LATER: Final = ("ssl", "asyncio.sslproto")
_IN: Final = ("asyncio.base_events", "asyncio.selector_events")
_LOCK: Final = threading.Lock()


class _NoSuchSocket:
    """Replaces ``ssl.SSLSocket`` before ``ssl`` is imported: asyncio tests sockets with isinstance."""


class _Later(ModuleType):
    """A lazy module: its first use imports the real one."""

    def __getattr__(self, name: str) -> Any:
        loaded = sys.modules.get(self.__name__)
        if name == "SSLSocket" and loaded in (None, self):
            return _NoSuchSocket
        return getattr(self._load(), name)

    def _load(self) -> ModuleType:
        self.forget()
        real = importlib.import_module(self.__name__)
        for name in _IN:
            names = vars(sys.modules.get(name, self))
            for each in [each for each, value in names.items() if value is self]:
                names[each] = real
        return real

    def forget(self) -> None:
        """Removes the lazy module from ``sys.modules``, so that an import finds the real one."""
        with _LOCK:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]


def _load_asyncio() -> None:
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    later = [_Later(name) for name in _LATER]
    for each in later:
        # If another thread imports it now, its module stays. A later import gets the lazy one, which loads it.
        sys.modules.setdefault(each.__name__, each)
    try:
        importlib.import_module("asyncio")
    finally:
        for each in later:
            each.forget()


_load_asyncio()

import asyncio  # noqa: E402

__all__ = ["asyncio"]
