"""The plugin: one call in, one reply out. A verb first understands all it was given, refuses, and then acts.

VERSION   answers without reading stdin
DEL       needs the network's name and the ids, and lets nothing else in the configuration stop it
others    need a configuration that is right in all that this door reads
"""

from __future__ import annotations

from contextlib import closing

from cni_cnm.cni import conventions, request, versions
from cni_cnm.cni import environ as environment
from cni_cnm.cni.document import decode
from cni_cnm.cni.reply import Reply, failure, internal, warnings
from cni_cnm.errors import CnmError, InvalidConfig, InvalidNamespace, IoFailed
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from cni_cnm.cni.engine import Engine
    from cni_cnm.cni.environ import Call
    from cni_cnm.model import EndpointKey, EndpointSpec, IpamSpec, Json, NetworkSpec

    Verb: TypeAlias = Callable[["Visit"], bytes]


class Visit:
    """One call with its configuration, and what there is to say about it."""

    def __init__(
        self,
        call: Call,
        document: Mapping[str, Json],
        controller: Callable[[], Engine],
        caller: Callable[[], str],
    ) -> None:
        self.call = call
        self.document = document
        self.config = Fields(document)
        self.controller = controller
        self.warnings: list[str] = []
        self.logged: list[str] = []
        self.outcome = ""
        """What came of it, for the log."""
        self._caller = caller

    @property
    def version(self) -> str:
        return request.version_of(self.config)

    def owner(self) -> str:
        stated = request.owner_of(self.config, self.call.environ)
        return stated or request.owned(self._caller())

    def network(self) -> NetworkSpec:
        network = request.network_of(self.document, self.config, self.call)
        unknown = request.unknown(self.document, self.config)
        if unknown:
            self.warnings.append(f"ignored, because unknown: {', '.join(unknown)}")
        self.warnings += request.notes(self.config)
        return network

    def endpoint(self) -> EndpointSpec:
        return request.endpoint_of(self.config, self.call, self.owner())

    def key(self) -> EndpointKey:
        return request.key_of(self.config, self.call)

    def refuse_own_namespace(self, engine: Engine, *, may_be_gone: bool = False) -> None:
        """InvalidNamespace if CNI_NETNS is where this program runs: it would rearrange the host.

        With `may_be_gone` one that is missing or cannot be opened is not that one; else it is an error.
        """
        if self.call.own_namespace or (may_be_gone and not self.call.netns):
            return
        try:
            target = engine.namespaces.open(self.call.netns)
        except CnmError:
            if may_be_gone:
                return
            raise
        with closing(target), closing(engine.namespaces.host()) as host:
            own = target.inode() == host.inode()
        if own:
            raise InvalidNamespace(
                f"CNI_NETNS {self.call.netns} is the plugin's own network namespace",
                hint="CNI_NETNS_OVERRIDE=1 permits it",
            )

    def say(self, found: Sequence[str]) -> None:
        """Warnings about this host: to stderr, and to the log, since runtimes throw a plugin's stderr away."""
        self.warnings += found
        self.logged += found

    @property
    def summary(self) -> str:
        call = self.call
        container = f"{call.container_id}/{call.ifname}" if call.verb in ("ADD", "CHECK", "DEL") else ""
        pod = conventions.pod(call.args) if container else ""
        name = self.config.raw("name")
        network = name if isinstance(name, str) and environment.NAME.fullmatch(name) else "?"
        return " ".join(part for part in (call.verb, network[:200], container, pod and f"pod={pod!a}") if part)


def handle(
    environ: Mapping[str, str],
    read_stdin: Callable[[], bytes],
    controller: Callable[[], Engine],
    name: str = "cni-cnm",
    owner: Callable[[], str] = lambda: "unknown",
) -> Reply:
    """Answer one call. Never raises.

    `controller` is asked for the engine once all is understood, `owner` for the runtime's name where neither
    configuration nor environment give one. `name` is what the program was called: `loopback` is that plugin.
    """
    visit: Visit | None = None
    version = ""
    try:
        verb = environment.verb(environ)
        if verb == "VERSION":
            return Reply(0, versions.answer().encode(), summary=verb)
        raw = _stdin(read_stdin)
        document = decode(raw)
        version = _claimed(document)
        visit = Visit(environment.read(environ), document, controller, owner)
        request.name_of(visit.config)
        versions.require(verb, visit.version)
        if verb in ("ADD", "CHECK"):
            request.refuse_repeated(raw)
        out = _verbs(name)[verb](visit)
    except CnmError as error:
        return _failed(error, version, visit)
    except Exception as error:  # noqa: BLE001 - whatever a fault of ours is, the runtime gets one error object
        return _failed(internal(error), version, visit, trace=_trace(environ))
    summary = f"{visit.summary} {visit.outcome}".rstrip()
    return Reply(0, out, warnings(visit.warnings), "; ".join((f"{summary} ok", *visit.logged)))


def _failed(error: CnmError, version: str, visit: Visit | None, *, trace: str = "") -> Reply:
    said = warnings(visit.warnings) if visit else ""
    return failure(error, version, err=said + trace, summary=visit.summary if visit else "")


def _trace(environ: Mapping[str, str]) -> str:
    if not environ.get("CNI_CNM_DEBUG"):
        return ""
    from traceback import format_exc

    return format_exc().encode(errors="backslashreplace").decode()


def _stdin(read_stdin: Callable[[], bytes]) -> bytes:
    try:
        return read_stdin()
    except OSError as error:
        raise IoFailed(f"the network configuration cannot be read from stdin: {error.strerror or error}") from error


def _claimed(document: Mapping[str, Json]) -> str:
    """The version an error object names: the configuration's, if it is one of ours."""
    stated = Fields(document).raw("cniVersion")
    return stated if isinstance(stated, str) and stated in versions.SUPPORTED else ""


def _verbs(name: str) -> Mapping[str, Verb]:
    if name == "loopback":
        from cni_cnm.cni import loopback

        return loopback.VERBS
    return VERBS


def _add(visit: Visit) -> bytes:
    from cni_cnm.cni import result

    network, endpoint, key = visit.network(), visit.endpoint(), visit.key()
    if request.is_chained(visit.config):
        return _add_to_chain(visit, request.chained(network, visit.config), endpoint)
    old = versions.shape(visit.version) == versions.PER_FAMILY
    if old and network.ipam.type in ("", "none"):
        result.refuse_unsayable(visit.version, ())
    engine = visit.controller()
    if old and (families := engine.families(network, endpoint)) is not None:
        result.refuse_unsayable(visit.version, families)
    visit.refuse_own_namespace(engine)
    attachment = engine.attach(network, endpoint)
    visit.say(attachment.warnings)
    try:
        document = result.encode(attachment, visit.version)
    except CnmError as error:
        _take_back(engine, key, endpoint, network.ipam, error)
        raise
    visit.outcome = ",".join(str(address.interface) for address in attachment.addresses)
    return result.dump(document)


def _take_back(engine: Engine, key: EndpointKey, endpoint: EndpointSpec, ipam: IpamSpec, error: CnmError) -> None:
    try:
        engine.detach(key, endpoint, ipam)
    except CnmError as second:
        error.add_note(f"while taking it back: {second}")


def _add_to_chain(visit: Visit, network: NetworkSpec, endpoint: EndpointSpec) -> bytes:
    """Own changes to another plugin's interface; the result is that plugin's, at this configuration's version."""
    from cni_cnm.cni import result

    given = visit.config.object("prevResult")
    previous = result.decode(given, visit.version, endpoint.ifname)
    if previous.container_index is None or previous.interfaces[previous.container_index].name != endpoint.ifname:
        raise InvalidConfig(f"prevResult does not list {endpoint.ifname} in a sandbox")
    engine = visit.controller()
    visit.refuse_own_namespace(engine)
    made = engine.attach(network, endpoint._replace(previous=previous))
    visit.say(made.warnings)
    visit.outcome = "chained"
    passed_on = visit.config.mapping("prevResult")
    if endpoint.tuning or endpoint.bandwidth:
        passed_on = result.amended(passed_on, made)
        given = Fields(passed_on, "prevResult")
        previous = result.decode(given, visit.version, endpoint.ifname)
    stated = given.text("cniVersion") or visit.version
    if versions.shape(stated) != versions.shape(visit.version):
        return result.dump(result.encode(previous, visit.version))
    return result.dump({**passed_on, "cniVersion": visit.version})


def _del(visit: Visit) -> bytes:
    engine = visit.controller()
    visit.refuse_own_namespace(engine, may_be_gone=True)
    visit.say(engine.detach(visit.key(), request.leaving(visit.call), _ipam_if_readable(visit)))
    return b""


def _ipam_if_readable(visit: Visit) -> IpamSpec | None:
    """None also where the configuration has none: then no other plugin can have leased anything by it."""
    if visit.config.raw("ipam") is None:
        return None
    try:
        return request.ipam_of(visit.document, visit.config, visit.call)
    except InvalidConfig as error:
        visit.warnings.append(f"the ipam of the configuration is not used: {error}")
        return None


def _check(visit: Visit) -> bytes:
    from cni_cnm.cni import result

    network, endpoint = visit.network(), visit.endpoint()
    if not visit.config.mapping("prevResult"):
        raise InvalidConfig("required prevResult missing", hint="CHECK compares with the result of ADD")
    previous = result.decode(visit.config.object("prevResult"), visit.version, visit.call.ifname)
    visit.controller().check(network, endpoint, previous)
    return b""


def _gc(visit: Visit) -> bytes:
    network, owner = visit.network(), visit.owner()
    if not request.states_valid(visit.document):
        raise InvalidConfig(
            f"{request.VALID[0]} is missing, without it nothing would be valid",
            hint="an empty list says so outright",
        )
    valid = request.valid_of(visit.config, network.name)
    visit.warnings += visit.controller().collect(network, owner, valid, visit.call.environ)
    return b""


def _status(visit: Visit) -> bytes:
    network, strict = visit.network(), visit.config.flag("statusExhausted")
    visit.warnings += visit.controller().status(network, exhausted_is_error=strict)
    return b""


VERBS: Mapping[str, Verb] = {"ADD": _add, "CHECK": _check, "DEL": _del, "GC": _gc, "STATUS": _status}
