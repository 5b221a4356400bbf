"""What a runtime or this program would refuse or ignore in a file, said before a pod is started, with the line.

Nothing is changed. Without the right to read the records, only what the file says by itself is checked.
"""

from __future__ import annotations

import os

from cni_cnm import ipam, spelling, validate
from cni_cnm.cni import environ, request, unused_keys, versions
from cni_cnm.cnm.endpoint import endpoint_record
from cni_cnm.cnm.network import configured_network, network_description, subnet_conflicts
from cni_cnm.cnm.network.delete_network import endpoints_of
from cni_cnm.cnm.records import load_network
from cni_cnm.conflists import folder as folders
from cni_cnm.conflists import meaning
from cni_cnm.conflists.conflist import TYPE, lists_by_name, read
from cni_cnm.drivers import CHAINED
from cni_cnm.errors import CnmError, InvalidConfig, IoFailed
from cni_cnm.fields import Fields
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.conflists.conflist import Conflist, Entry
    from cni_cnm.ipam.contract import Ipam

    T = TypeVar("T")

ERROR, WARNING = "error", "warning"
BIN_FOLDERS = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
"""Where runtimes look for plugins, unless they are configured otherwise."""
_LIST_KEYS = frozenset((
    "cniversion", "cniversions", "name", "plugins", "disablecheck", "disablegc", "loadonlyinlinedplugins",
))  # fmt: skip
_CAPABILITIES = frozenset((
    "portMappings", "ipRanges", "ips", "mac", "bandwidth", "dns", "aliases", "infinibandGUID", "deviceID", "cgroupPath",
    "io.kubernetes.cri.pod-annotations",
))  # fmt: skip
"""CNI's CONVENTIONS, and containerd's."""


class Finding(NamedTuple):
    severity: str
    """`error`: a runtime or this program refuses the file, so no pod starts. `warning`: something has no effect."""
    line: int
    """0: no line of the file."""
    message: str
    hint: str = ""


class Checked(NamedTuple):
    conflist: Conflist | None
    """None for a file that is no configuration at all."""
    findings: Sequence[Finding]
    """By line, errors first."""
    meaning: Sequence[tuple[str, str]]
    """Of this program's part: a term, and what is true of it."""

    @property
    def failed(self) -> bool:
        return any(finding.severity == ERROR for finding in self.findings)


def check(path: str, host: Host, *, folder: str = folders.FOLDER, bin_folders: Sequence[str] = BIN_FOLDERS) -> Checked:
    """Check one file. `folder` is where the runtime reads files, `bin_folders` where it finds plugins."""
    try:
        conflist = read(path)
    except (CnmError, OSError) as error:
        return Checked(None, [Finding(ERROR, _line_in(str(error)), *_said(error))], ())
    found = _Findings(conflist)
    _check_list(conflist, found)
    for entry in conflist.entries:
        _check_program(entry, found, bin_folders)
    _check_place(conflist, found, folder)
    meant: Sequence[tuple[str, str]] = ()
    if conflist.ours is not None:
        meant = _check_ours(conflist, conflist.ours, found, host, bin_folders)
    else:
        types = ", ".join(entry.type or "?" for entry in conflist.entries)
        found.add(WARNING, "", f"this program has no part in the file: its plugins are {types}", f'"type": "{TYPE}"')
    order = sorted(found.found, key=lambda one: (one.severity != ERROR, one.line))
    return Checked(conflist, order, meant)


class _Findings:
    def __init__(self, conflist: Conflist) -> None:
        self._conflist = conflist
        self.found: list[Finding] = []

    def add(self, severity: str, under: str, message: str, hint: str = "") -> None:
        """Each message once, at the line of the first key below `under` that it names."""
        if all(one.message != message for one in self.found):
            line = self._conflist.lines.named(message, under)
            self.found.append(Finding(severity, line, message, hint))

    def attempt(self, under: str, parse: Callable[[], T], severity: str = ERROR) -> T | None:
        """What `parse` gives; None if it refuses the file, which is an error then, or of another severity."""
        try:
            return parse()
        except CnmError as error:
            self.add(severity, under, error.msg, error.hint)
        return None


def _said(error: Exception) -> tuple[str, str]:
    return (error.msg, error.hint) if isinstance(error, CnmError) else (str(error), "")


def _line_in(sentence: str) -> int:
    """The line that a JSON parser names: `… line 3 column 7 (char 40)`; 0 for none."""
    words = sentence.split()
    return int(words[words.index("line") + 1]) if "line" in words[:-1] and "column" in words else 0


def _check_list(conflist: Conflist, found: _Findings) -> None:
    if conflist.is_list and not lists_by_name(conflist.path):
        found.add(
            ERROR, "plugins", f"{os.path.basename(conflist.path)} has a list of plugins, which runtimes read from "
            "files that end in .conflist only", "rename the file",
        )  # fmt: skip
    if not conflist.is_list and lists_by_name(conflist.path):
        found.add(
            ERROR, "", "the file has no list of plugins, and its name ends in .conflist",
            'put the plugin into a list: {"cniVersion": …, "name": …, "plugins": [ … ]}',
        )  # fmt: skip
    if conflist.is_list:
        listed = Fields(conflist.document)
        found.attempt("", lambda: validate.require(validate.network_name, _required(listed, "name"), "name"))
        found.attempt("", lambda: versions.require("ADD", request.version_of(listed)))
        if "cniVersion" not in listed:
            found.add(WARNING, "", "cniVersion is missing, so the file is of CNI 0.1.0", '"cniVersion": "1.0.0"')
        for key in conflist.document:
            if key.lower() not in _LIST_KEYS:
                found.add(
                    WARNING, "", f"{key} is no key of a list, so it has no effect", "keys of a plugin are in its entry"
                )


def _required(fields: Fields, key: str) -> str:
    text = fields.text(key)
    if not text:
        raise InvalidConfig(f"{key} is missing", hint="it is the network's name")
    return text


def _check_program(entry: Entry, found: _Findings, bin_folders: Sequence[str]) -> None:
    if not entry.type:
        found.add(ERROR, entry.path, "type is missing, or no text: a runtime executes the program of that name")
    elif "/" in entry.type:
        found.add(ERROR, entry.path, f"type is {entry.type!r}, it must be the name of a program, without a folder")
    elif not any(os.access(f"{folder}/{entry.type}", os.X_OK) for folder in bin_folders):
        near = spelling.meant(entry.type, sorted({TYPE, *(name for one in bin_folders for name in _names(one))}))
        found.add(
            WARNING, entry.path, f"type {entry.type}: there is no such program in {', '.join(bin_folders)}",
            f"did you mean {near}?" if near else "install it, or name the runtime's folder with --bin-dir",
        )  # fmt: skip


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _check_place(conflist: Conflist, found: _Findings, folder: str) -> None:
    """What other files of the runtime's folder have to do with this one."""
    path = os.path.abspath(conflist.path)
    if os.path.realpath(os.path.dirname(path)) != os.path.realpath(folder):
        return
    own = os.path.basename(path)
    present = folders.names(folder)
    if own not in present:
        found.add(
            ERROR, "", f"runtimes do not read {own}: its name ends in none of {', '.join(folders.SUFFIXES)}",
            "rename it",
        )  # fmt: skip
        return
    if present[0] != own:
        found.add(
            WARNING, "", f"containerd and CRI-O use {folder}/{present[0]} for pods, because its name comes first",
            "nerdctl, podman and cnitool choose by the network's name",
        )  # fmt: skip
    for other in folders.conflists(folder):
        if other.name == conflist.name and os.path.basename(other.path) != own:
            found.add(ERROR, "", f"name is {conflist.name!r}, as in {other.path}: a name stands for one network")


def _check_ours(
    conflist: Conflist, entry: Entry, found: _Findings, host: Host, bin_folders: Sequence[str]
) -> Sequence[tuple[str, str]]:
    document = conflist.given_to(entry)
    config, under = Fields(document), entry.path
    call = environ.Call("ADD", "check", "eth0", "", "", ":".join(bin_folders), False, {})
    found.attempt(under, lambda: request.owner_of(config, {}))
    spec = found.attempt(under, lambda: request.network_of(document, config, call))
    endpoint = found.attempt(under, lambda: request.endpoint_of(config, call, "cni/check"))
    if spec is None:
        found.attempt(under, lambda: ipam.configure("check", request.ipam_of(document, config, call), endpoint, host))
        return ()
    for key in unused_keys.unknown(document, config, spec.ipam.type):
        near = spelling.meant(key.rpartition(".")[2], unused_keys.known_at(key, config, spec.ipam.type))
        found.add(WARNING, under, f"{key} is unknown, so it has no effect", f"did you mean {near}?" if near else "")
    for notes in (lambda: unused_keys.notes(config, spec.ipam.type), lambda: request.portmap_of(config)[1]):
        for note in found.attempt(under, notes) or ():
            found.add(WARNING, under, note)
    if _follows_another(conflist, entry, config):
        spec = request.chained(spec, config)
    network = found.attempt(under, lambda: configured_network.read(spec))
    pool = None
    if network is None or not network.addressing.recorded:
        pool = found.attempt(under, lambda: ipam.configure(spec.name, spec.ipam, endpoint, host))
    if network is None:
        return ()
    if endpoint is not None:
        found.attempt(under, lambda: endpoint_record.refuse_unsupported(spec, network.role, endpoint))
        if pool is not None:  # what is missing a runtime may request
            found.attempt(under, lambda: pool.validate(endpoint), WARNING)
    record = _compare_with_host(network, pool, found, under, host)
    if spec.driver != CHAINED:
        for sentence in meaning.missing_capabilities(record, config):
            found.add(WARNING, under, sentence)
    for name in meaning.unknown_capabilities(config, _CAPABILITIES):
        near = spelling.meant(name, sorted(_CAPABILITIES))
        hint = f"did you mean {near}?" if near else ""
        found.add(WARNING, under, f"capabilities has {name}, which no runtime knows", hint)
    return list(meaning.sentences(network, record, config, pool))


def _follows_another(conflist: Conflist, entry: Entry, config: Fields) -> bool:
    """Whether a plugin before this entry makes the interface, so that this one only adds to it."""
    if conflist.entries[0] is entry or config.text("driver") or config.mapping("ipam"):
        return False
    return any(one.type != "loopback" for one in conflist.entries[: conflist.entries.index(entry)])


def _compare_with_host(
    network: ConfiguredNetwork, pool: Ipam | None, found: _Findings, under: str, host: Host
) -> NetworkRecord:
    """Compare with the network on record, and with what else has its subnets. Returns it as it would be recorded."""
    wanted = network_description.describe(network, dict(network.spec.ipam.config))
    wanted = wanted._replace(published_only=True)
    try:
        recorded = load_network(host.store, network.name)
        if recorded is None:
            _refuse_new(network, wanted, pool, found, under, host)
            return wanted
        if network_description.is_current(recorded, network):
            return recorded
        endpoints = list(endpoints_of(host, recorded))
    except (IoFailed, PermissionError):
        found.add(WARNING, under, "the networks of this host cannot be read, so they are not compared", "run as root")
        return wanted
    again = found.attempt(under, lambda: network_description.describe_again(network, recorded))
    if again is None:
        return recorded
    merged = found.attempt(under, lambda: network_description.update(recorded, again, in_use=bool(endpoints)))
    if merged is not None:
        found.add(WARNING, under, f"the network {network.name} differs on this host: the next ADD changes it")
    return merged or again


def _refuse_new(
    network: ConfiguredNetwork, wanted: NetworkRecord, pool: Ipam | None, found: _Findings, under: str, host: Host
) -> None:
    """What a first ADD would refuse on this host."""
    found.attempt(under, lambda: network.driver.refuse_new(network.options))
    if network.spec.driver != CHAINED:
        found.attempt(under, lambda: network.driver.validate(network.options, host.stack))
    if pool is not None and not network.addressing.recorded:
        subnets = ipam.subnets(pool)
        warned = found.attempt(under, lambda: subnet_conflicts.refuse(host, wanted, subnets, network.spec))
        for sentence in warned or ():
            found.add(WARNING, under, sentence)
