"""Settings: each is an argument, else its ``MDDNS_*`` environment variable, else a default."""

import os
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Self

from ..base.errors import BadMessage, ConfigError
from ..base.model import DEFAULT_DOMAIN, DEFAULT_PORT
from ..base.names import Name
from . import Network, open_network

DEFAULT_TIMEOUT: Final = 1.0
# octets; it leaves room for the instance label, service name and type in a name of 255 octets
MAX_APEX: Final = 122


class Settings(NamedTuple):
    """The network, the apex, the port of responders, and the timeout of a lookup (seconds)."""

    network: Network
    network_name: str
    apex: Name
    port: int
    timeout: float
    specs: tuple[str, ...] = ()  # the specs of the network, as given
    address: str | None = None  # our own address, if given

    @classmethod
    def of(
        cls,
        network: str | Sequence[str] | Network | None = None,
        *,
        domain: str | None = None,
        port: int | str | None = None,
        address: str | None = None,
        timeout: float | str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """Settings from arguments and environment; ConfigError says what is wrong and which setting it is."""
        port_number = _port(port, environ)
        own = address or environ.get("MDDNS_ADDRESS") or None
        if network is None:
            network = environ.get("MDDNS_NETWORK", "").split()
        if isinstance(network, str):
            network = [network]
        if isinstance(network, Sequence):
            specs = tuple(network)
            name = " ".join(specs) or "tailscale"
            opened = open_network(network, port=port_number, address=own)
        else:
            specs, name, opened = (), type(network).__name__, network
        return cls(opened, name, _apex(domain, environ), port_number, _timeout(timeout, environ), specs, own)


def _apex(domain: str | None, environ: Mapping[str, str]) -> Name:
    text = domain or environ.get("MDDNS_DOMAIN") or DEFAULT_DOMAIN
    try:
        apex = Name.parse(text)
    except BadMessage as error:
        raise ConfigError(f"domain {error}") from None
    if not apex.labels or len(apex.wire) > MAX_APEX:
        raise ConfigError(f"domain {text!r}: must be a name of at most {MAX_APEX} octets, as in minidisc.internal")
    return apex


def _port(port: int | str | None, environ: Mapping[str, str]) -> int:
    where, value = ("port", port) if port is not None else ("MDDNS_PORT", environ.get("MDDNS_PORT") or DEFAULT_PORT)
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) <= 65535):
        raise ConfigError(f"{where} {text!r}: must be a number from 1 to 65535")
    return int(text)


def _timeout(timeout: float | str | None, environ: Mapping[str, str]) -> float:
    where, value = ("timeout", timeout) if timeout is not None else ("MDDNS_TIMEOUT", environ.get("MDDNS_TIMEOUT"))
    try:
        seconds = float(value or DEFAULT_TIMEOUT) if value != 0 else 0.0
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 60:
        raise ConfigError(f"{where} {value!r}: must be a number of seconds above 0 and at most 60")
    return seconds
