"""Every error that mddns raises on purpose, each knowing how it is answered.

    Error                            rcode      exit code
    ├── NetworkError (OSError)       SERVFAIL   3          the network could not be asked
    │   └── TailscaleError           SERVFAIL   3          ... because of tailscaled
    ├── PortInUse (OSError)          SERVFAIL   3          somebody else has our port
    ├── InvalidService (ValueError)  FORMERR    2          a service that cannot be offered
    ├── ConfigError (ValueError)     FORMERR    2          a file, flag or variable is wrong
    ├── BadMessage (ValueError)      FORMERR    3          octets that are no DNS message
    └── Incomplete                   SERVFAIL   4          known registries were silent, and `strict` was asked for

``rcode`` is what a responder says (RFC 1035 4.1.1), ``exit_code`` what ``md`` ends with.
"""

from __future__ import annotations

from collections.abc import Sequence

FORMERR = 1
SERVFAIL = 2
NOTIMP = 4


class Error(Exception):
    """The root: ``except mddns.Error`` catches all that this library raises on purpose."""

    rcode = SERVFAIL
    exit_code = 3


class _SystemError(Error, OSError):
    """May carry an errno, which is for programs; people get the message alone."""

    def __str__(self) -> str:
        return str(self.strerror) if self.strerror else Exception.__str__(self)


class NetworkError(_SystemError):
    """The network could not be asked: no own address, no peers to be had, nothing that can be bound."""


class TailscaleError(NetworkError):
    """tailscaled could not be asked, or said that it is not connected."""


class PortInUse(_SystemError):
    """Another program holds the port that a registry answers on."""


class InvalidService(Error, ValueError):
    """A service that cannot be offered: its name, a label, its port or its address."""

    rcode = FORMERR
    exit_code = 2


class ConfigError(Error, ValueError):
    """A file, a flag or an environment variable is wrong. Several faults of one file come together.

    ``problems`` holds one line each, already with file, line and key.
    """

    rcode = FORMERR
    exit_code = 2

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems: tuple[str, ...] = tuple(problems) or (message,)


class BadMessage(Error, ValueError):
    """Octets that are no DNS message we can read; ``rcode`` is what their sender is told."""

    rcode = FORMERR

    def __init__(self, message: str, rcode: int = FORMERR) -> None:
        super().__init__(message)
        self.rcode = rcode


class Incomplete(Error):
    """``strict`` was asked for and registries that count were silent; ``silent`` names them."""

    exit_code = 4

    def __init__(self, message: str, silent: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.silent: tuple[str, ...] = tuple(silent)
