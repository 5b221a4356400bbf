"""One frontend that allocates addresses and releases them until it is killed: python -m … KIND NAME FOLDER SEED

KIND is one of KINDS. SEED 0: only release what an earlier process of that NAME has left. Run in a node.

    FOLDER/claims/ADDRESS     link whose target is the id of the endpoint that was given the address
    FOLDER/NAME.journal       `+ ID` before an endpoint is made, `= ID` when it has its address, `- ID` when it is gone
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cni_cnm import NoSuchEndpoint, open_controller
from tests.program import ROOT
from tests.side import REFERENCE

NETWORK, SUBNET = "net", "10.64.0.0/22"
NETNS = "/run/netns/pods"
LEASES = Path(f"/var/lib/cni/networks/{NETWORK}")
PLUGIN_SOCKET = "/run/docker/plugins/cni-cnm.sock"
HELD = 30
"""Addresses that a worker has at a time, at most."""
CONFIG = {"bridge": "alloc0", "ipam": {"type": "host-local", "subnet": SUBNET}}


class Unanswered(Exception):
    """The frontend was killed, or says that it is to be asked again: whether the address was given is not known."""


class Worker:
    pause_s = 0.0
    """Between two allocations, so that fast frontends make most of them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.claims = folder / "claims"
        self.journal = folder / f"{name}.journal"

    def run(self, seed: int) -> None:
        self.settle()
        randomness = random.Random(seed)
        slots, held = list(range(HELD + 1)), list[tuple[str, str]]()
        with self.journal.open("a", buffering=1) as journal:
            for number in range(10**9 if seed else 0):
                endpoint = f"{self.name}-{seed}-{number}-e{slots.pop()}"
                journal.write(f"+ {endpoint}\n")
                try:
                    address = self.acquire(endpoint)
                except Unanswered:
                    self.release_surely(endpoint, "")
                    self.finish(endpoint, slots, journal)
                    continue
                self.claim(address, endpoint)
                journal.write(f"= {endpoint}\n")
                held.append((endpoint, address))
                while len(held) > randomness.randrange(1, HELD):
                    endpoint, address = held.pop(randomness.randrange(len(held)))
                    (self.claims / address).unlink()
                    self.release_surely(endpoint, address)
                    self.finish(endpoint, slots, journal)
                time.sleep(self.pause_s)

    @staticmethod
    def finish(endpoint: str, slots: list[int], journal: Any) -> None:
        journal.write(f"- {endpoint}\n")
        slots.append(int(endpoint.rpartition("-e")[2]))

    def settle(self) -> None:
        """Release what a killed process had, as a runtime does that starts again: what it had begun, too."""
        text = self.journal.read_text() if self.journal.exists() else ""
        lines = [line.split() for line in text.splitlines()]
        left = dict.fromkeys(words[1] for words in lines if words[0] == "+")
        for words in lines:
            if words[0] == "-":
                del left[words[1]]
        addresses = self.unclaim(set(left))
        with self.journal.open("a", buffering=1) as journal:
            for endpoint in left:
                self.release_surely(endpoint, addresses.get(endpoint, ""))
                journal.write(f"- {endpoint}\n")

    def unclaim(self, endpoints: set[str]) -> Mapping[str, str]:
        """Remove their claims. Endpoint to address."""
        found = {}
        for claim in list(self.claims.iterdir()):
            try:
                owner = os.readlink(claim)
            except FileNotFoundError:  # another worker has given it back
                continue
            if owner in endpoints:
                found[owner] = claim.name
                claim.unlink()
        return found

    def claim(self, address: str, endpoint: str) -> None:
        path = self.claims / address
        try:
            path.symlink_to(endpoint)  # made in one step, with what it says
        except FileExistsError:
            raise AssertionError(f"{address} is given to {endpoint}, and {os.readlink(path)} has it") from None

    def release_surely(self, endpoint: str, address: str) -> None:
        """As a runtime does: again, until it is done."""
        for _ in range(600):
            try:
                return self.release(endpoint, address)
            except Unanswered:
                time.sleep(0.1)
        raise AssertionError(f"{endpoint} cannot be released")

    def acquire(self, endpoint: str) -> str:
        raise NotImplementedError

    def release(self, endpoint: str, address: str) -> None:
        """No error if it has none. `address` is "" if it is not known."""
        raise NotImplementedError


class Library(Worker):
    """Endpoints of the Python library, which are in no sandbox."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.network = open_controller().network(NETWORK)
        self.made: dict[str, Any] = {}

    def acquire(self, endpoint: str) -> str:
        made = self.made[endpoint] = self.network.create_endpoint(endpoint)
        return str(made.addresses[0].interface.ip)

    def release(self, endpoint: str, address: str) -> None:
        try:
            (self.made.pop(endpoint, None) or self.network.endpoint(endpoint)).delete()
        except NoSuchEndpoint:
            pass


class Plugin(Worker):
    """Pods by CNI, through the relay and the service."""

    pause_s = 0.01
    executable = ROOT / "dist/bin/cni-cnm"
    environ: Mapping[str, str] = {"CNI_NETNS": NETNS, "CNI_CNM_LINGER": "0"}

    def acquire(self, endpoint: str) -> str:
        return str(json.loads(self.call("ADD", endpoint))["ips"][0]["address"]).partition("/")[0]

    def release(self, endpoint: str, address: str) -> None:
        self.call("DEL", endpoint)

    def call(self, verb: str, endpoint: str) -> str:
        environ = {"CNI_COMMAND": verb, "CNI_CONTAINERID": endpoint, "CNI_IFNAME": endpoint.rpartition("-")[2],
                   "CNI_PATH": f"{self.executable.parent}:{REFERENCE}", **self.environ}  # fmt: skip
        config = json.dumps({"cniVersion": "1.0.0", "name": NETWORK, "type": "cni-cnm", **CONFIG})
        done = subprocess.run([self.executable], input=config, env=environ, capture_output=True, text=True)
        if done.returncode:
            if json.loads(done.stdout)["code"] == 11:
                raise Unanswered
            raise AssertionError(done.stdout)
        return done.stdout


class Program(Plugin):
    """The same by the program itself, without the service."""

    pause_s = 0.2
    executable = ROOT / "dist/lib/cni-cnm/current/cni-cnm"
    environ: Mapping[str, str] = {**Plugin.environ, "CNI_NETNS": f"{NETNS}2"}


class Reference(Plugin):
    """The reference's host-local, on the same store."""

    pause_s = 0.02
    executable = REFERENCE / "host-local"


class Docker(Worker):
    """Addresses that Docker requests from its IPAM plugin, for endpoints that it has not made yet."""

    pause_s = 0.01

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.pool = (folder / "pool").read_text()

    def acquire(self, endpoint: str) -> str:
        return str(self.call("RequestAddress", Address="")["Address"]).partition("/")[0]

    def release(self, endpoint: str, address: str) -> None:
        for known in [address] if address else self.forgotten():
            self.call("ReleaseAddress", Address=known)

    def forgotten(self) -> list[str]:
        """Addresses that were given in an answer that was not read. No other worker is Docker's."""
        found = []
        for lease in LEASES.iterdir():
            try:
                docker = lease.read_bytes().startswith(b"docker\r\n")
            except (FileNotFoundError, IsADirectoryError):
                continue
            if docker and not os.path.lexists(self.claims / lease.name):
                found.append(lease.name)
        return found

    def call(self, name: str, **more: str) -> Any:
        body = json.dumps({"PoolID": self.pool, "Options": {}, **more}).encode()
        head = (
            f"POST /IpamDriver.{name} HTTP/1.1\r\nHost: p\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(60)
                connection.connect(PLUGIN_SOCKET)
                connection.sendall(head.encode() + body)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError as error:
            raise Unanswered from error
        if not answer:
            raise Unanswered
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return json.loads(answer.partition(b"\r\n\r\n")[2])


KINDS: Mapping[str, type[Worker]] = {
    "library": Library, "plugin": Plugin, "program": Program, "docker": Docker, "reference": Reference,
}  # fmt: skip

if __name__ == "__main__":
    KINDS[sys.argv[1]](sys.argv[2], Path(sys.argv[3])).run(int(sys.argv[4]))
