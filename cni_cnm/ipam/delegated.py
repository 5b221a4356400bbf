"""Any other CNI IPAM executable, found on CNI_PATH and run with the whole network configuration on stdin.

As in libcni's invoke package: the caller's environment, stderr passed through, "text file busy" tried again. In
addition: a fixed PATH, a time limit, and a DEL after an ADD that failed.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
from ipaddress import ip_address
from time import sleep

from cni_cnm import validate
from cni_cnm.docker_protocol import discovery
from cni_cnm.errors import CnmError, DriverFailed, NoSuchDriver, shown
from cni_cnm.fields import Fields
from cni_cnm.ipam import dns, routes
from cni_cnm.ipam.contract import PoolStatus
from cni_cnm.model import Address, Lease
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMEOUT_S = 55.0
STATUS_TIMEOUT_S = 1.8
_BUILT_IN = ("host-local", "static", "none")
"""The types that a configuration can name, without those that this module stands for."""
_BUSY_RUNS = 6
_BUSY_PAUSE_S = 1.0


def exists(kind: str, cni_path: str) -> bool:
    return any(_is_file(path) for path in _places(kind, cni_path))


def find(kind: str, cni_path: str) -> str:
    """The executable in the first folder of CNI_PATH that has it. NoSuchDriver names the paths that were tried."""
    tried = _places(kind, cni_path)
    found = next((path for path in tried if _is_file(path)), None)
    if found is not None:
        return found
    where = f"{' or '.join(tried)} is not a file" if tried else "CNI_PATH is empty"
    from cni_cnm import spelling

    near = spelling.meant(kind, _BUILT_IN)
    raise NoSuchDriver(
        f"there is no ipam {kind!r}: it is not built in, and {where}",
        hint=f"did you mean {near}?"
        if near
        else f"built in are {', '.join(_BUILT_IN)}; others are executables on CNI_PATH, or Docker plugins. "
        + discovery.hint(),
    )


def _places(kind: str, cni_path: str) -> list[str]:
    validate.require(validate.name, kind, "ipam.type")
    return [f"{folder}/{kind}" for folder in cni_path.split(os.pathsep) if folder]


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> Delegated:  # noqa: ARG001
    """NoSuchDriver if there is no such executable. Its keys are not parsed here: only the executable knows them."""
    find(spec.type, spec.cni_path)
    return Delegated(spec.type, spec.conf, spec.cni_path, endpoint.environ if endpoint else {})


def restore(network: str, record: Mapping[str, Json], host: IpamHost) -> Delegated:  # noqa: ARG001
    held = frozenset(ip_address(text) for text in record.get("addresses", ()))
    return Delegated(record.get("type", ""), record.get("conf", {}), record.get("cni_path", ""), {}, held)


def release_unrecorded(
    network: str,
    spec: IpamSpec,
    key: EndpointKey,
    environ: Mapping[str, str],
    before_release: Callable[[frozenset[IPAddress]], None],
    host: IpamHost,
) -> None:
    configure(network, spec, None, host).release(key, environ, before_release)


class Delegated:
    wants_mac = False
    needs_interface = True

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
        """Refuses nothing: only the executable knows what it can reserve."""

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:
        environ = {**endpoint.environ, "CNI_NETNS": endpoint.netns}
        try:
            lease = _lease(self.type, self._run("ADD", environ, key))
        except CnmError:
            try:
                self._run("DEL", environ, key)  # CNI SPEC: after a failed ADD
            except CnmError:
                pass
            raise
        self._held = frozenset(ip_address(str(address.interface.ip)) for address in lease.addresses)
        return lease

    def release(
        self, key: EndpointKey, environ: Mapping[str, str], before_release: Callable[[frozenset[IPAddress]], None]
    ) -> None:
        before_release(self._held)
        self._run("DEL", environ, key)

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:
        if self._version_at_least(0, 4):
            conf = self._conf if "prevResult" in self._conf else {**self._conf, "prevResult": self._result(lease)}
            self._run("CHECK", environ, key, conf)

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:
        if self._version_at_least(1, 1):
            attachments = [{"containerID": key.container_id, "ifname": key.ifname} for key in valid]
            self._run("GC", environ, None, {**self._conf, "cni.dev/valid-attachments": attachments})

    def status(self) -> PoolStatus:
        if self._version_at_least(1, 1):
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

    def _version_at_least(self, *least: int) -> bool:
        """Whether the configuration has this CNI version or a later one."""
        version = str(self._conf.get("cniVersion") or "0.1.0")
        return [int(part) for part in version.split(".") if part.isdigit()] >= list(least)

    def _result(self, lease: Lease) -> Json:
        """A lease as a CNI result, for a CHECK whose configuration has no prevResult."""
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
        """Run the executable. Returns its decoded stdout, None if it is empty. DriverFailed has its own code."""
        path = find(self.type, self._cni_path)
        ids = {"CNI_CONTAINERID": key.container_id, "CNI_IFNAME": key.ifname} if key else {}
        full = {**environ, **ids, "CNI_COMMAND": verb, "CNI_PATH": self._cni_path, "PATH": SEARCH_PATH}
        code, output = execute(path, full, json.dumps(self._conf if conf is None else conf).encode(), timeout_s)
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
            f"the ipam {path} ended {verb} with exit code {code} and without a CNI result: {answer or '-'}",
            hint="the caller's log has what it wrote to stderr",
        )


_ANSWER_MAX = 4 << 20
"""Bytes, as of a network configuration."""


def execute(
    path: str, environ: Mapping[str, str], stdin: bytes, timeout_s: float, what: str = "the ipam executable"
) -> tuple[int, bytes]:
    """Run a CNI executable: its exit code and its stdout. DriverFailed if it does not run, or does not end in time."""
    import subprocess

    from cni_cnm.child_output import OutputTooLong, communicate

    for run in range(_BUSY_RUNS):
        try:
            child = subprocess.Popen(
                [path], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            break
        except OSError as error:
            # ETXTBSY: the executable is being installed.
            if error.errno != errno.ETXTBSY or run == _BUSY_RUNS - 1:
                raise DriverFailed(f"{what} {path} cannot be run: {error.strerror}") from error
            sleep(_BUSY_PAUSE_S)
    with waiting(), child:
        try:
            output, _ = communicate(child, stdin, timeout_s, _ANSWER_MAX)
        except OutputTooLong as error:
            os.killpg(child.pid, signal.SIGKILL)
            raise DriverFailed(
                f"{what} {path} answered with {error} and was killed",
                hint="a result names a few addresses; see what the executable prints to stdout",
            ) from None
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # its children hold the pipe open, too
            raise DriverFailed(f"{what} {path} did not end in {timeout_s:g} s and was killed", code=11) from None
    return child.returncode, output


def _lease(kind: str, result: Json) -> Lease:
    """A CNI result of any version. `interfaces` are ignored: an IPAM has none."""
    if result is not None and not isinstance(result, dict):
        raise DriverFailed(f"the ipam {kind} gave a result that is {shown(result)}, it must be an object")
    fields = Fields(result, f"the result of the ipam {kind}: ", error=DriverFailed)
    addresses = [_address(ip, "address") for ip in fields.objects("ips")]
    found = list(routes.read(fields))
    for old in ("ip4", "ip6"):  # CNI 0.1.0 and 0.2.0
        if old in fields:
            family = fields.object(old)
            addresses.append(_address(family, "ip"))
            found += routes.read(family)
    if not addresses:
        raise DriverFailed(
            f"the ipam {kind} gave no address", hint="a container without one needs a network without ipam"
        )
    return Lease(tuple(addresses), tuple(found), dns.read(fields))


def _address(fields: Fields, key: str) -> Address:
    return Address(fields.required(key, validate.interface), fields.address("gateway"))
