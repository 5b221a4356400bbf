"""delegated: any other CNI IPAM executable, found on CNI_PATH and run with the whole network configuration on
stdin.

As libcni's invoke package does it: the caller's environment, stderr passed through, "text file busy" tried
again. Beside that: a fixed PATH, a time limit, and a DEL after an ADD that failed.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
from ipaddress import ip_address
from time import sleep

from cni_cnm.docker_protocol import discovery
from cni_cnm.errors import CnmError, DriverFailed, InvalidConfig, NoSuchDriver
from cni_cnm.ipam import values
from cni_cnm.ipam.contract import PoolStatus
from cni_cnm.model import Address, Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json
    from cni_cnm.settings import Settings

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMEOUT_S = 55.0
STATUS_TIMEOUT_S = 1.8
_BUSY_RUNS = 6
_BUSY_PAUSE_S = 1.0


def exists(kind: str, cni_path: str) -> bool:
    return any(_is_file(path) for path in _places(kind, cni_path))


def find(kind: str, cni_path: str) -> str:
    """The executable in the first folder of CNI_PATH that has it. NoSuchDriver tells what was tried."""
    tried = _places(kind, cni_path)
    found = next((path for path in tried if _is_file(path)), None)
    if found is not None:
        return found
    raise NoSuchDriver(
        f"there is no ipam {kind!r}: it is not built in, and {' or '.join(tried) or 'CNI_PATH'} "
        f"{'is no file' if tried else 'is empty'}",
        hint="built in are host-local, static and none; others are executables on CNI_PATH, or Docker plugins: "
        + discovery.hint(),
    )


def _places(kind: str, cni_path: str) -> list[str]:
    if "/" in kind or "\0" in kind or kind in ("", ".", ".."):
        raise InvalidConfig(f"the ipam type {kind!r} is no plain name", hint="it is looked for on CNI_PATH")
    return [f"{folder}/{kind}" for folder in cni_path.split(os.pathsep) if folder]


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, settings: Settings) -> Delegated:  # noqa: ARG001
    """What the executable's own keys mean only it knows: nothing is parsed here, except that it exists."""
    find(spec.type, spec.cni_path)
    return Delegated(spec.type, spec.conf, spec.cni_path, endpoint.environ if endpoint else {})


def restore(network: str, record: Mapping[str, Json], settings: Settings) -> Delegated:  # noqa: ARG001
    held = frozenset(ip_address(text) for text in record.get("addresses", ()))
    return Delegated(record.get("type", ""), record.get("conf", {}), record.get("cni_path", ""), {}, held)


def release_unrecorded(
    network: str,
    spec: IpamSpec,
    key: EndpointKey,
    environ: Mapping[str, str],
    last: Callable[[frozenset[IPAddress]], None],
    settings: Settings,
) -> None:
    configure(network, spec, None, settings).release(key, environ, last)


class Delegated:
    def __init__(
        self,
        kind: str,
        conf: Mapping[str, Json],
        cni_path: str,
        environ: Mapping[str, str],
        held: frozenset[IPAddress] = frozenset(),
    ) -> None:
        self.type = kind
        self.families: tuple[int, ...] | None = None
        self._conf = conf
        self._cni_path = cni_path
        self._environ = environ
        self._held = held

    def gateways(self) -> Sequence[IPInterface]:
        return ()

    def validate(self, endpoint: EndpointSpec) -> None:
        """Nothing: what can be had only the executable knows."""

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:
        environ = {**endpoint.environ, "CNI_NETNS": endpoint.netns}
        try:
            lease = _lease(self.type, self._run("ADD", environ, key))
        except CnmError:
            try:
                self._run("DEL", environ, key)  # the specification wants it, whatever the ADD got to
            except CnmError:
                pass
            raise
        self._held = frozenset(ip_address(str(address.interface.ip)) for address in lease.addresses)
        return lease

    def release(
        self, key: EndpointKey, environ: Mapping[str, str], last: Callable[[frozenset[IPAddress]], None]
    ) -> None:
        last(self._held)
        self._run("DEL", environ, key)

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:
        if self._speaks(0, 4):
            conf = self._conf if "prevResult" in self._conf else {**self._conf, "prevResult": self._result(lease)}
            self._run("CHECK", environ, key, conf)

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:
        if self._speaks(1, 1):
            attachments = [{"containerID": key.container_id, "ifname": key.ifname} for key in valid]
            self._run("GC", environ, None, {**self._conf, "cni.dev/valid-attachments": attachments})

    def status(self) -> PoolStatus:
        if self._speaks(1, 1):
            self._run("STATUS", self._environ, None, timeout_s=STATUS_TIMEOUT_S)
        return PoolStatus(None)

    def record(self) -> Mapping[str, Json]:
        return {
            "type": self.type,
            "conf": self._conf,
            "cni_path": self._cni_path,
            "addresses": sorted(map(str, self._held)),
        }

    # ------------------------------------------------------------------------

    def _speaks(self, *least: int) -> bool:
        """Is the configuration of this CNI version or a later one?"""
        version = str(self._conf.get("cniVersion") or "0.1.0")
        return [int(part) for part in version.split(".") if part.isdigit()] >= list(least)

    def _result(self, lease: Lease) -> Json:
        """A lease as the CNI result it came from, for a CHECK whose configuration brings none."""
        routes = [
            {
                key: value if isinstance(value, int) else str(value)
                for key, value in route._asdict().items()
                if value is not None
            }
            for route in lease.routes
        ]
        addresses = [
            {
                "version": str(interface.version),
                "address": str(interface),
                **({"gateway": str(gateway)} if gateway else {}),
            }
            for interface, gateway in lease.addresses
        ]
        return {"cniVersion": self._conf.get("cniVersion"), "ips": addresses, "routes": routes}

    def _run(
        self,
        verb: str,
        environ: Mapping[str, str],
        key: EndpointKey | None,
        conf: Mapping[str, Json] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Json:
        """The decoded stdout, None if there is none. DriverFailed has the executable's own code."""
        path = find(self.type, self._cni_path)
        ids = {"CNI_CONTAINERID": key.container_id, "CNI_IFNAME": key.ifname} if key else {}
        full = {**environ, **ids, "CNI_COMMAND": verb, "CNI_PATH": self._cni_path, "PATH": SEARCH_PATH}
        code, output = _execute(path, full, json.dumps(self._conf if conf is None else conf).encode(), timeout_s)
        try:
            answer = json.loads(output) if output.strip() else None
        except ValueError:
            answer = output.decode("utf-8", "replace").strip()[:500]
        if code == 0 and not isinstance(answer, str):
            return answer
        if code and isinstance(answer, dict) and answer.get("msg"):
            given = answer.get("code")
            raise DriverFailed(
                f"the ipam {self.type} failed on {verb}: {answer['msg']}",
                code=given if isinstance(given, int) else 0,
                details=str(answer.get("details") or ""),
            )
        raise DriverFailed(
            f"the ipam {path} ended {verb} with status {code} and without a CNI answer: {answer or '-'}",
            hint="what it wrote on stderr is in the caller's log",
        )


def _execute(path: str, environ: Mapping[str, str], stdin: bytes, timeout_s: float) -> tuple[int, bytes]:
    import subprocess

    for run in range(_BUSY_RUNS):
        try:
            child = subprocess.Popen(
                [path], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            break
        except OSError as error:
            # An executable that is being installed is busy for a moment.
            if error.errno != errno.ETXTBSY or run == _BUSY_RUNS - 1:
                raise DriverFailed(f"the ipam executable {path} cannot be run: {error.strerror}") from error
            sleep(_BUSY_PAUSE_S)
    with child:
        try:
            output, _ = child.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # its own children hold the pipe as well
            child.communicate()
            raise DriverFailed(
                f"the ipam executable {path} gave no answer in {timeout_s:g} s and was killed", code=11
            ) from None
    return child.returncode, output


def _lease(kind: str, result: Json) -> Lease:
    """A CNI result of any version; `interfaces` are not an IPAM's business."""
    lowered = _lowered(result)
    try:
        raw = values.mapping(lowered, "the result")
        addresses = [_address(values.mapping(item, "ips"), "address") for item in values.items(raw.get("ips"), "ips")]
        routes = list(values.routes(raw.get("routes"), "routes"))
        for old in ("ip4", "ip6"):  # CNI 0.1 and 0.2
            if raw.get(old):
                part = values.mapping(raw[old], old)
                addresses.append(_address(part, "ip"))
                routes += values.routes(part.get("routes"), f"{old}.routes")
        return Lease(tuple(addresses), tuple(routes), values.dns(raw.get("dns"), "dns"))
    except InvalidConfig as error:
        raise DriverFailed(f"the ipam {kind} gave a result that cannot be used: {error.msg}") from error


def _address(raw: Mapping[str, Json], key: str) -> Address:
    gateway = raw.get("gateway")
    return Address(values.interface(raw.get(key), key), values.address(gateway, "gateway") if gateway else None)


def _lowered(value: Json) -> Json:
    if isinstance(value, dict):
        return {str(key).lower(): _lowered(item) for key, item in value.items()}
    return [_lowered(item) for item in value] if isinstance(value, list) else value
