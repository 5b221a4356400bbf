"""One CNI call with its configuration, as every verb is given it. Values are parsed when a verb asks for them."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cni import conventions, request
from cni_cnm.cni.environ import REQUIRED
from cni_cnm.drivers import POLICY_OF_CHAIN
from cni_cnm.errors import CnmError, InvalidNamespace
from cni_cnm.fields import Fields
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.reply import Subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from cni_cnm.cni.environ import Call
    from cni_cnm.frontend.engine import Engine
    from cni_cnm.model import EndpointKey, EndpointSpec, Json, NetworkSpec

    Verb: TypeAlias = Callable[["Invocation"], bytes]


_OF_INTERFACE = ("ADD", "CHECK", "DEL")
_STATED_MAX = 253
"""Characters of a value that was not checked."""


class Invocation:
    """The call, its configuration, and the warnings and the outcome that are reported for it."""

    def __init__(
        self,
        call: Call,
        document: Mapping[str, Json],
        controller: Callable[[], Engine],
        caller: Callable[[], str],
        program: str = "",
    ) -> None:
        self.call = call
        self.given = document
        """The configuration as it was given. The two below it are as it is read."""
        self.document = document
        self.config = Fields(document)
        self.controller = controller
        self.warnings: list[str] = []
        self.logged: list[str] = []
        self.outcome = ""
        """The result in a few words, for the log."""
        self.program = program
        """The path by which another plugin was called that this program stands in for; "" for `cni-cnm` itself."""
        self._caller = caller

    @property
    def plugin(self) -> str:
        """That plugin's name."""
        return self.program.rpartition("/")[2]

    def read_as(self, document: Mapping[str, Json]) -> None:
        """Read another configuration in the place of the one that was given."""
        self.document, self.config = document, Fields(document)

    @property
    def version(self) -> str:
        return request.version_of(self.config)

    def owner(self) -> str:
        stated = request.owner_of(self.config, self.call.environ)
        return stated or request.owned(self._caller())

    def network(self) -> NetworkSpec:
        from cni_cnm.cni import shared_part, unused_keys  # not for a DEL

        network, unknown, notes = shared_part.read(self.document, self.config, self.call)
        rest = {key: value for key, value in self.document.items() if key.lower() in shared_part.OF_A_POD}
        unknown = [*unknown, *unused_keys.unknown_in(rest)]
        if unknown:
            self.warn([f"ignored, because unknown: {', '.join(unknown)}"])
        self.warn(notes)
        network = network._replace(ipam=network.ipam._replace(conf=self.given))
        if self.plugin:
            network = network._replace(options={**network.options, POLICY_OF_CHAIN: True})
        return network

    def endpoint(self) -> EndpointSpec:
        return request.endpoint_of(self.config, self.call, self.owner())

    def key(self) -> EndpointKey:
        return request.key_of(self.config, self.call)

    def refuse_own_namespace(self, engine: Engine) -> None:
        """InvalidNamespace if CNI_NETNS is the namespace this program runs in: it would change the host."""
        if not self.call.own_namespace and engine.namespaces.is_host(self.call.netns):
            raise InvalidNamespace(
                f"CNI_NETNS {self.call.netns} is the plugin's own network namespace",
                hint="CNI_NETNS_OVERRIDE=1 permits it",
            )

    def leads_to_own_namespace(self, engine: Engine) -> bool:
        """The same as an answer, for a DEL: a process id in the path may be another process's by now.

        A namespace that is missing or cannot be opened is not that one.
        """
        try:
            return bool(self.call.netns) and not self.call.own_namespace and engine.namespaces.is_host(self.call.netns)
        except CnmError:
            return False

    def warn(self, found: Sequence[str]) -> None:
        """Warnings go to stderr and to the log, because runtimes discard a plugin's stderr."""
        self.warnings += found
        self.logged += found

    def log_profile(self) -> None:
        """Into the log: the profile that the network was made in, and what decided it. That of a name is fixed."""
        sentence = "" if self.plugin else request.profile_sentence(self.document, self.config)
        if sentence:
            self.logged.append(sentence)

    @property
    def subject(self) -> Subject:
        call = self.call
        of_interface = call.verb in _OF_INTERFACE
        name = self.config.raw("name")
        network = name if isinstance(name, str) and validate.accepts(validate.network_name, name) else "?"
        if not of_interface:
            return Subject(call.verb, network)
        return Subject(call.verb, network, call.container_id, call.ifname, conventions.pod(call.args))


def stated_by(environ: Mapping[str, str]) -> Subject:
    """What the environment alone says of a call, unchecked: its configuration cannot be read."""
    verb = environ.get("CNI_COMMAND", "")
    if verb not in REQUIRED:
        return Subject()
    if verb not in _OF_INTERFACE:
        return Subject(verb)
    of_call = (environ.get("CNI_CONTAINERID", ""), environ.get("CNI_IFNAME", ""))
    said = (*of_call, conventions.pod(environ.get("CNI_ARGS", "")))
    return Subject(verb, "", *(one_line(text)[:_STATED_MAX] for text in said))


def summary(subject: Subject) -> str:
    """The request in a few words."""
    container = f"{subject.container}/{subject.ifname}" if subject.ifname else ""
    parts = (subject.verb, subject.network, container, subject.pod and f"pod={subject.pod!a}")
    return " ".join(part for part in parts if part)
