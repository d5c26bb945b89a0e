"""Offers a service while its port accepts connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ...base.errors import Error
from ...base.offer import Offer
from ...host.health_checks import accepts
from ...networks.settings import Settings
from ...sync import Advertised, Registry
from .service_words import at, tell
from .terminal import talk

PROBE_TIMEOUT: Final = 0.5  # seconds; the port is mostly on this machine
FIRST_PAUSE: Final = 0.05  # seconds between probes of a closed port; grows to LONGEST_PAUSE
LONGEST_PAUSE: Final = 0.5
UP_PAUSE: Final = 2.0  # seconds between probes of an open port: each is a connection in the program's log
AWHILE: Final = 5.0  # seconds for which a port may be closed, as in a restart, before md withdraws the service
_UNTIL: Final = "CMD ends"


class Standing:
    """Decides whether a port counts as open: from its first success until it has failed for AWHILE."""

    def __init__(self) -> None:
        self.up = False
        self.pause = 0.0  # seconds until the next probe
        self._accepted = 0.0

    def probed(self, accepts: bool, now: float) -> None:
        """Takes the result of a probe."""
        if accepts:
            self.up, self._accepted, self.pause = True, now, UP_PAUSE
            return
        self.up = self.up and now - self._accepted < AWHILE
        self.pause = FIRST_PAUSE if self.pause == UP_PAUSE else min(self.pause * 1.5 or FIRST_PAUSE, LONGEST_PAUSE)


@contextmanager
def offered(offer: Offer, registry: Registry, settings: Settings) -> Iterator[None]:
    """Advertises `offer` while its port accepts, until the context ends. UDP: always, as UDP has no connections."""
    if offer.protocol == "udp":
        tell([registry.advertise(offer).service], registry, settings, _UNTIL)
        yield
        return
    port = _Port(offer, registry, settings)
    if port.accepts():
        talk(f"port {offer.port} accepts connections before CMD runs: another program uses it")
    ended = threading.Event()
    watching = threading.Thread(target=port.watch, args=(ended,), name="md run", daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


class _Port:
    """The port of one service, and its advertisement."""

    def __init__(self, offer: Offer, registry: Registry, settings: Settings) -> None:
        self._offer = offer
        self._registry = registry
        self._settings = settings
        self._addresses = (offer.address,) if offer.address else registry.reached_at
        self._handle: Advertised | None = None
        self._told = False
        self._warned = offer.address is not None or self._addresses == ("127.0.0.1",)

    def accepts(self) -> bool:
        """Whether it accepts now."""
        return any(accepts(address, self._offer.port, PROBE_TIMEOUT) for address in self._addresses)

    def watch(self, ended: threading.Event) -> None:
        """Offers it while it accepts, until `ended`."""
        standing = Standing()
        try:
            while not ended.wait(standing.pause):
                standing.probed(self.accepts(), time.monotonic())
                self._follow(standing.up)
        except Error as error:
            talk(str(error))

    def _follow(self, up: bool) -> None:
        if up and self._handle is None:
            self._handle = self._registry.advertise(self._offer)
            if self._told:
                talk(f"{at(self._handle.service)} accepts again: advertised")
            else:
                tell([self._handle.service], self._registry, self._settings, _UNTIL)
            self._told = True
        elif not up and self._handle is not None:
            talk(f"{at(self._handle.service)} has not accepted connections for {AWHILE:g} s: withdrawn until it does")
            self._handle.withdraw()
            self._handle = None
        elif not up and not self._warned and accepts("127.0.0.1", self._offer.port, PROBE_TIMEOUT):
            talk(
                f"port {self._offer.port} accepts only at 127.0.0.1, where no other machine can connect, so it is not "
                f"advertised: let CMD listen on 0.0.0.0 or on {self._addresses[0]}"
            )
            self._warned = True
