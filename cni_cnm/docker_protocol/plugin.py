"""A plugin in hand: found, activated once, and called.

    open_plugin(name, NETWORK_DRIVER)   the plugin; NoSuchDriver if there is none, or it does not implement that
    plugin.send(message)                the decoded answer of one call
    tell(name, …, message)              a call that takes something down
    take_back(plugin, error, …)         calls that undo what a failed one may have done

A handshake is good as long as this process can reach the plugin: one that was restarted is asked again what it is.
"""

from __future__ import annotations

from typing import Protocol

from cni_cnm.docker_protocol import ACTIVATE, discovery
from cni_cnm.docker_protocol.http import LIMIT_S, BrokenOff, PluginFailed, Unreachable, post
from cni_cnm.docker_protocol.network_driver import Activation
from cni_cnm.errors import CnmError, DriverFailed, NoSuchDriver, NotReady, PluginRefused, TryAgain, Unfinished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.docker_protocol.discovery import Location
    from cni_cnm.model import Json

STATUS_LIMIT_S = 0.9
"""STATUS has 2 s, and may have two plugins to ask."""
UNDO_LIMIT_S = 5.0
"""Of a call that takes back what another one was cut short in."""


class Message(Protocol):
    """A request of network_driver.py or ipam_driver.py."""

    @property
    def call(self) -> str: ...
    def to_json(self) -> Json: ...


class Plugin:
    def __init__(self, name: str, location: Location) -> None:
        self.name = name
        self.location = location
        self.implements: tuple[str, ...] = ()
        self._told: dict[str, Json] = {}

    def send(self, message: Message, limit_s: float = LIMIT_S) -> Json:
        return self.ask(message.call, message.to_json(), limit_s)

    def ask(self, call: str, body: Json | None = None, limit_s: float = LIMIT_S) -> Json:
        """A call whose body may be empty, as Docker sends it without arguments."""
        try:
            return post(self.name, self.location, call, body, limit_s)
        except Unreachable:
            _activated.pop(self.name, None)
            raise

    def ask_once(self, call: str) -> Json:
        """An answer that holds as long as the handshake does (GetCapabilities)."""
        if call not in self._told:
            self._told[call] = self.ask(call)
        return self._told[call]


_activated: dict[str, Plugin] = {}


def open_plugin(name: str, subsystem: str, limit_s: float = LIMIT_S) -> Plugin:
    """A plugin that answers; Unreachable if it does not, NoSuchDriver if there is none for `subsystem`."""
    location = discovery.find(name)
    if location is None:
        raise NoSuchDriver(f"{name!r} is neither built in nor a Docker plugin of this host", hint=discovery.hint())
    plugin = _activated.get(name)
    if plugin is None or plugin.location != location:
        plugin = Plugin(name, location)
        plugin.implements = Activation.from_json(plugin.ask(ACTIVATE, limit_s=limit_s)).implements
        _activated[name] = plugin
    if subsystem not in plugin.implements:
        offers = ", ".join(plugin.implements) or "nothing"
        raise NoSuchDriver(f"the plugin {name} is no {subsystem}: it implements {offers}")
    return plugin


def tell(name: str, subsystem: str, message: Message, *, optional: bool = False, limit_s: float = LIMIT_S) -> None:
    """Have something taken down. Complained if the plugin answers with an error, TryAgain if it does not answer.

    `optional`: a plugin need not know the call.
    """
    try:
        plugin = open_plugin(name, subsystem, limit_s)
    except (NoSuchDriver, DriverFailed) as error:
        raise TryAgain(
            f"the plugin {name} is not there to be told of {message.call}: {error.msg}",
            hint="start it again; docs/plugins.md has what to do without it",
        ) from error
    try:
        plugin.send(message, limit_s)
    except BrokenOff as error:
        raise TryAgain(error.msg, hint=error.hint) from error
    except DriverFailed as error:
        if not (optional and isinstance(error, PluginFailed) and error.unsupported):
            raise PluginRefused(error.msg, hint=error.hint) from error


def did_nothing(error: CnmError) -> bool:
    """The plugin said no, or was never asked."""
    return isinstance(error, PluginFailed) or (isinstance(error, Unreachable) and not error.asked)


def take_back(plugin: Plugin, error: CnmError, *steps: Message) -> None:
    """Undo what the call that failed with `error` may have done. Unfinished if the plugin does not say that it has."""
    for step in steps:
        try:
            plugin.send(step, UNDO_LIMIT_S)
        except (Unreachable, BrokenOff) as second:
            unfinished = Unfinished(error.msg, hint=error.hint)
            unfinished.add_note(f"while undoing: {second}")
            raise unfinished from error
        except CnmError as second:
            error.add_note(f"while undoing: {second}")


def require_answer(name: str, subsystem: str, call: str) -> None:
    """NotReady unless the plugin answers a call now, whatever it says of it."""
    from time import monotonic

    deadline = monotonic() + STATUS_LIMIT_S
    try:
        plugin = open_plugin(name, subsystem, STATUS_LIMIT_S)
        plugin.ask(call, limit_s=max(deadline - monotonic(), 0.1))
    except PluginFailed:
        return
    except CnmError as error:
        raise NotReady(error.msg, hint=error.hint) from error
