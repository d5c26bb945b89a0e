"""systemd-resolved on a host of the bed, as its distribution runs it, with an /etc and a /run that end with it.

Debian's package is unpacked rather than installed (`.ci/run` does so): installing it takes over the machine's own
/etc/resolv.conf. It and what is run beside it are in a mount namespace of their own. `systemctl` there restarts it,
and `sudo` is only said.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType
from typing import Final, Self

import pytest

from .host import Host
from .process import Process, wait_until

UNPACKED: Final = Path("/usr/local/lib/systemd-resolved")  # systemd-resolved and resolvectl

# The bus has a policy that allows root everything, which alone is on it.
_BUS: Final = """
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><policy context="default">
<allow user="*"/><allow own="*"/>
<allow send_type="method_call"/><allow send_type="signal"/><allow send_requested_reply="true"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="error"/><allow receive_type="signal"/>
</policy></busconfig>
"""

_BOOT: Final = """
set -eu
tools=$1 unpacked=$2
mount -t tmpfs tmpfs /mnt
cp -a /etc/. /mnt
mount --move /mnt /etc
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/systemd/system /run/systemd/resolve /etc/systemd
echo 'systemd-resolve:x:991:991::/:/usr/sbin/nologin' >>/etc/passwd
echo 'systemd-resolve:x:991:' >>/etc/group
chown systemd-resolve: /run/systemd/resolve
rm -rf /etc/resolv.conf /etc/systemd/resolved.conf*
ln -s /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
dbus-daemon --config-file="$tools/bus.conf" --nofork --nopidfile &
while ! [ -S /run/dbus/system_bus_socket ]; do sleep 0.02; done
while :; do
  "$unpacked/systemd-resolved" &
  echo $! >"$tools/pid"
  wait $! || true
done
"""

_SYSTEMCTL: Final = """#!/bin/sh
[ "$1" = --version ] && exec /usr/bin/systemctl --version
[ "$2" = systemd-resolved ] || exit 5
before=$(cat {tools}/pid)
kill "$before"
while [ "$(cat {tools}/pid)" = "$before" ] || ! resolvectl dns >/dev/null 2>&1; do sleep 0.02; done
"""


class Resolved:
    """It runs until its `with` block ends. Other names come from `upstream`, the server of the host's one link."""

    def __init__(self, host: Host, upstream: str) -> None:
        if not (UNPACKED / "systemd-resolved").exists():
            why = f"systemd-resolved is not unpacked to {UNPACKED}, as .ci/run does"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
        self._host = host
        tools = host.directory / "resolved"
        tools.mkdir()
        (tools / "bus.conf").write_text(_BUS)
        _script(tools / "systemctl", _SYSTEMCTL.format(tools=tools))
        _script(tools / "sudo", '#!/bin/sh\nexec "$@"\n')
        (tools / "resolvectl").symlink_to(UNPACKED / "resolvectl")
        self._env = {"PATH": f"{tools}{os.pathsep}{host.env['PATH']}"}
        self._process = host.start(["unshare", "-m", "sh", "-c", _BOOT, "boot", str(tools), str(UNPACKED)])
        here = Path(f"/proc/{self._process.pid}/root/run/systemd/resolve/stub-resolv.conf")
        if not wait_until(here.exists, 15):
            raise AssertionError(f"systemd-resolved does not come up: {self._process.stderr}")
        assert self.run(["resolvectl", "dns", "tailscale0", upstream]).returncode == 0

    def run(self, argv: Sequence[str], timeout: float = 20.0) -> CompletedProcess[str]:
        """Runs a program beside it to its end."""
        return self._host.run(self._beside(argv), timeout, self._env)

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Starts a program beside it."""
        return self._host.start(self._beside(argv), {**self._env, **(env or {})})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.close()

    def _beside(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "--mount", f"--target={self._process.pid}", f"--wd={self._host.directory}", "--", *argv]


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
