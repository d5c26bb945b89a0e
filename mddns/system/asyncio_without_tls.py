"""asyncio, loaded without TLS until somebody wants that.

asyncio imports ``ssl``, which is a third of the memory that a registry would cost a program, and has no switch for it.
Nothing of mddns speaks TLS. So where neither is loaded yet, asyncio's two modules that know TLS get another thing under
the names ``ssl`` and ``sslproto``, which loads and becomes the real modules at the first touch. Nothing of it stays in
``sys.modules``: ``import ssl`` gives the real module, and TLS with asyncio works as ever. Where asyncio is loaded
already, or reads more of ``ssl`` while it is being loaded than we know of, it is as if this were not here.
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
    """What a TLS socket is while nobody can have made one. asyncio looks whether it was given one."""


class _Later(ModuleType):
    """A module that is loaded when it is first used."""

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
        """Takes it out of the way of the real one."""
        with _LOCK:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]


def _load_asyncio() -> None:
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    later = [_Later(name) for name in _LATER]
    for each in later:
        # Another thread may be importing it at this moment; whoever does so after us gets what becomes the real one.
        sys.modules.setdefault(each.__name__, each)
    try:
        importlib.import_module("asyncio")
    finally:
        for each in later:
            each.forget()


_load_asyncio()

import asyncio  # noqa: E402

__all__ = ["asyncio"]
