"""headscale: the control server of the tailnet, with its own DERP relay and STUN, in its own namespace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from bed.process import Process, wait_until

from .binaries import Binaries

NAME: Final = "control.example"
ADDRESS: Final = "198.51.100.1"
SUFFIX: Final = "tail1234.ts.net"
USER: Final = "ada@example.com"

Policy = dict[str, Any]
OPEN: Final[Policy] = {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
"""The policy that allows everything."""


_CHAIN: Final = "{ type filter hook input priority 0; }"


class Control:
    """A headscale: its configuration, and the commands of its own program."""

    def __init__(self, binaries: Binaries, namespace: str, directory: Path, split: Mapping[str, Sequence[str]]) -> None:
        self.certificate = directory / "certificate.pem"
        self._program = str(binaries.headscale)
        self._namespace = namespace
        self._directory = directory
        self._split = {apex: list(servers) for apex, servers in split.items()}
        self._process: Process | None = None
        self._starts = 0
        self._database = directory / "headscale.sqlite"

    def start(self) -> None:
        """Starts it; returns when it answers its command line."""
        if not self.certificate.exists():
            self._certify()
            self._write_policy(OPEN)
            (self._directory / "headscale.yaml").write_text(yaml.safe_dump(self._configuration()))
        self._starts += 1
        argv = ["ip", "netns", "exec", self._namespace, *self._argv("serve")]
        self._process = Process(argv, os.environ, self._directory / f"headscale-{self._starts}", self._directory)
        if not wait_until(lambda: self._process is not None and self._try("users", "list").returncode == 0, 30):
            raise RuntimeError(f"headscale does not answer: {self.log[-2000:]}")
        if self._starts == 1:
            self.ask("users", "create", USER, "--display-name", "Ada", "--email", USER)

    def stop(self) -> None:
        """Ends the server."""
        if self._process is not None:
            self._process.close()
            self._process = None

    @property
    def log(self) -> str:
        """Returns its output since its last start."""
        return "" if self._process is None else self._process.stdout + self._process.stderr

    def ask(self, *words: str) -> Any:
        """Runs a command of headscale and returns its JSON. RuntimeError if it fails."""
        done = self._try(*words, "--output", "json", "--force")
        if done.returncode != 0:
            raise RuntimeError(f"headscale {' '.join(words)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def key(self) -> str:
        """Returns a new key for a login."""
        (user,) = self.ask("users", "list")
        told: str = self.ask("preauthkeys", "create", "--user", str(user["id"]), "--reusable", "--expiration", "2h")[
            "key"
        ]
        return told

    def node(self, name: str) -> str:
        """Returns the id of a node, as the other commands expect it."""
        (found,) = (each for each in self.ask("nodes", "list") if each["name"] == name or each["given_name"] == name)
        return str(found["id"])

    def readdress(self, name: str, ipv4: str, ipv6: str) -> None:
        """Gives a node other addresses, as a Tailscale admin can; in headscale only through its database."""
        number = self.node(name)
        self.stop()
        with contextlib.closing(sqlite3.connect(self._database)) as database, database:
            database.execute("UPDATE nodes SET ipv4 = ?, ipv6 = ? WHERE id = ?", (ipv4, ipv6, number))
        self.start()

    def turn_away(self, address: str) -> None:
        """Closes the connections of a node and drops its packets, as control server and as relay; `calm` undoes it."""
        rule = f"add rule inet trouble in ip saddr {address} tcp dport 443 drop"
        self._inside("nft", f"add table inet trouble; add chain inet trouble in {_CHAIN}; {rule}")
        self._inside("ss", "--kill", "--tcp", "dst", address)

    def calm(self) -> None:
        """Undoes `turn_away`."""
        self._inside("nft", "delete table inet trouble")

    def policy(self, policy: Policy) -> None:
        """Sets the tailnet's policy."""
        self._write_policy(policy)
        if self._process is not None:
            self._process.signal(signal.SIGHUP)

    def _argv(self, *words: str) -> list[str]:
        return [self._program, "--config", str(self._directory / "headscale.yaml"), *words]

    def _try(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._argv(*words), capture_output=True, text=True, check=False, timeout=30)

    def _inside(self, *argv: str) -> None:
        subprocess.run(["ip", "netns", "exec", self._namespace, *argv], capture_output=True, check=True, timeout=30)

    def _write_policy(self, policy: Policy) -> None:
        (self._directory / "policy.json").write_text(json.dumps(policy))

    def _certify(self) -> None:
        """Makes a certificate, because clients use a relay only over TLS."""
        key = str(self._directory / "key.pem")
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        argv += ["-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},IP:{ADDRESS}"]
        subprocess.run([*argv, "-keyout", key, "-out", str(self.certificate)], check=True, capture_output=True)

    def _configuration(self) -> dict[str, Any]:
        here = self._directory
        return {
            "server_url": f"https://{NAME}",
            "listen_addr": "0.0.0.0:443",
            "metrics_listen_addr": "",
            "tls_cert_path": str(self.certificate),
            "tls_key_path": str(here / "key.pem"),
            "noise": {"private_key_path": str(here / "noise.key")},
            "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48", "allocation": "sequential"},
            "derp": {
                "server": {
                    "enabled": True,
                    "region_id": 999,
                    "region_code": "bed",
                    "region_name": "Bed",
                    "stun_listen_addr": "0.0.0.0:3478",
                    "private_key_path": str(here / "derp.key"),
                    "automatically_add_embedded_derp_region": True,
                    "ipv4": ADDRESS,
                },
                "urls": [],
                "paths": [],
                "auto_update_enabled": False,
            },
            "disable_check_updates": True,
            "database": {"type": "sqlite", "sqlite": {"path": str(self._database)}},
            "policy": {"mode": "file", "path": str(here / "policy.json")},
            "dns": {
                "magic_dns": True,
                "base_domain": SUFFIX,
                "override_local_dns": False,
                "nameservers": {"global": [], "split": self._split},
            },
            "unix_socket": str(here / "headscale.sock"),
            "unix_socket_permission": "0700",
            "logtail": {"enabled": False},
            "log": {"level": "info"},
        }
