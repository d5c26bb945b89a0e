"""Service discovery with no server: every node answers DNS.

    with mddns.start_registry() as registry:
        registry.advertise_service(8080, "web", {"env": "prod"})

    mddns.resolve("web", {"env": "prod"})       # a list of Service, best first
    mddns.find_service("web", {"env": "prod"})  # an Endpoint, "100.64.0.2:8080", or None
    mddns.list_services()
    with mddns.watch("web") as events:          # the changes, as they happen
        for event in events: ...

The module functions share one Resolver, which is created at first use. ``mddns.aio`` has the same functions as
coroutines. Importing this module loads almost nothing: each part is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import aio
    from .base.errors import (
        ConfigError,
        Error,
        Incomplete,
        InvalidService,
        NetworkError,
        PortInUse,
        TailscaleError,
    )
    from .base.health_check import Check
    from .base.model import Endpoint, Service, Services
    from .base.policy import Policy
    from .default import close, find_service, leader, list_services, resolve, watch
    from .resolver import Resolver
    from .sync import Advertised, Registry, start_registry
    from .sync_watch import Watch
    from .watching.events import Event

__version__ = "0.2.0"

_HOMES = {
    "watching.events": ("Event",),
    "base.health_check": ("Check",),
    "default": ("close", "find_service", "leader", "list_services", "resolve", "watch"),
    "base.errors": (
        "ConfigError",
        "Error",
        "Incomplete",
        "InvalidService",
        "NetworkError",
        "PortInUse",
        "TailscaleError",
    ),
    "base.model": ("Endpoint", "Service", "Services"),
    "base.policy": ("Policy",),
    "resolver": ("Resolver",),
    "sync": ("Advertised", "Registry", "start_registry"),
    "sync_watch": ("Watch",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Advertised",
    "Check",
    "ConfigError",
    "Endpoint",
    "Error",
    "Event",
    "Incomplete",
    "InvalidService",
    "NetworkError",
    "Policy",
    "PortInUse",
    "Registry",
    "Resolver",
    "Service",
    "Services",
    "TailscaleError",
    "Watch",
    "aio",
    "close",
    "find_service",
    "leader",
    "list_services",
    "resolve",
    "start_registry",
    "watch",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "aio":
        return import_module(".aio", __name__)
    if name in _HOME:
        value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
