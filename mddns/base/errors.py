"""Every error that mddns raises on purpose, each with its rcode and exit code.

    Error                            rcode      exit code
    ├── NetworkError (OSError)       SERVFAIL   3          the network gives no addresses or peers
    │   └── TailscaleError           SERVFAIL   3          ... because of tailscaled
    ├── PortInUse (OSError)          SERVFAIL   3          another program has our port
    ├── InvalidService (ValueError)  FORMERR    2          a service that cannot be offered
    ├── ConfigError (ValueError)     FORMERR    2          a file, flag or variable is wrong
    ├── BadMessage (ValueError)      FORMERR    3          octets that are no DNS message
    └── Incomplete                   SERVFAIL   4          `strict`, and known registries did not answer

``rcode`` is the RCODE of a responder's response (RFC 1035 4.1.1), ``exit_code`` the exit status of ``md``.
"""

from __future__ import annotations

from collections.abc import Sequence

FORMERR = 1
SERVFAIL = 2
NOTIMP = 4


class Error(Exception):
    """The base class: ``except mddns.Error`` catches every error that this library raises on purpose."""

    rcode = SERVFAIL
    exit_code = 3


class _SystemError(Error, OSError):
    """An OSError that may have an errno for programs; its text is the message alone."""

    def __str__(self) -> str:
        return str(self.strerror) if self.strerror else Exception.__str__(self)


class NetworkError(_SystemError):
    """The network cannot be used: no own address, no list of peers, or no address to bind to."""


class TailscaleError(NetworkError):
    """tailscaled did not answer, or it is not connected."""


class PortInUse(_SystemError):
    """Another program holds the port that a registry answers on."""


class InvalidService(Error, ValueError):
    """A service that cannot be offered: its name, a label, its port or its address."""

    rcode = FORMERR
    exit_code = 2


class ConfigError(Error, ValueError):
    """A file, a flag or an environment variable is wrong. One error reports all faults of a file.

    ``problems`` has one text for each fault, with file, line and key.
    """

    rcode = FORMERR
    exit_code = 2

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems: tuple[str, ...] = tuple(problems) or (message,)


class BadMessage(Error, ValueError):
    """Octets that are not a readable DNS message; ``rcode`` is for the response to their sender."""

    rcode = FORMERR

    def __init__(self, message: str, rcode: int = FORMERR) -> None:
        super().__init__(message)
        self.rcode = rcode


class Incomplete(Error):
    """A lookup with ``strict`` got no answer from some registries that should answer; ``silent`` names them."""

    exit_code = 4

    def __init__(self, message: str, silent: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.silent: tuple[str, ...] = tuple(silent)
