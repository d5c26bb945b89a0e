"""systemd-resolved on a host of the bed, as Debian runs it.

Debian's package is unpacked rather than installed (by `.ci/run`), as its installation would replace the machine's own
/etc/resolv.conf.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from .host import Host
from .installed import Installed

UNPACKED: Final = Path("/usr/local/lib/systemd-resolved")  # systemd-resolved and resolvectl

# The policy of the bus allows everything, as only root uses this bus.
_BUS: Final = """
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><policy context="default">
<allow user="*"/><allow own="*"/>
<allow send_type="method_call"/><allow send_type="signal"/><allow send_requested_reply="true"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="error"/><allow receive_type="signal"/>
</policy></busconfig>
"""

_PREPARE: Final = f"""
mkdir -p /run/dbus /run/systemd/resolve /etc/systemd
echo 'systemd-resolve:x:991:991::/:/usr/sbin/nologin' >>/etc/passwd
echo 'systemd-resolve:x:991:' >>/etc/group
chown systemd-resolve: /run/systemd/resolve
rm -rf /etc/resolv.conf /etc/systemd/resolved.conf*
ln -s /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
cat >/run/bus.conf <<'END'
{_BUS}
END
dbus-daemon --config-file=/run/bus.conf --nofork --nopidfile &
while ! [ -S /run/dbus/system_bus_socket ]; do sleep 0.02; done
"""


class Resolved(Installed):
    """Runs until its `with` block ends. Other names come from `upstream`, the server of the host's only link."""

    def __init__(self, host: Host, upstream: str) -> None:
        if not (UNPACKED / "systemd-resolved").exists():
            why = f"systemd-resolved is not unpacked to {UNPACKED}, as .ci/run does"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
        (host.directory / "tools").mkdir()
        (host.directory / "tools" / "resolvectl").symlink_to(UNPACKED / "resolvectl")
        super().__init__(host, "systemd-resolved", [str(UNPACKED / "systemd-resolved")], _PREPARE, "resolvectl dns")
        self.shell(f"resolvectl dns tailscale0 {upstream}")
