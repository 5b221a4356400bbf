"""A plugin in hand: found, activated once, and called.

    open_plugin(name, NETWORK_DRIVER)   the plugin; NoSuchDriver if there is none, or it does not implement that
    plugin.send(message)                the decoded answer of one call

A handshake is good as long as this process can reach the plugin: one that was restarted is asked again what it is.
"""

from __future__ import annotations

from typing import Protocol

from cni_cnm.errors import NoSuchDriver
from cni_cnm.plugins import ACTIVATE, discovery
from cni_cnm.plugins.http import Unreachable, post
from cni_cnm.plugins.network_driver import Activation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Json
    from cni_cnm.plugins.discovery import Location


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

    def send(self, message: Message) -> Json:
        return self.ask(message.call, message.to_json())

    def ask(self, call: str, body: Json | None = None) -> Json:
        """A call whose body may be empty, as Docker sends it without arguments."""
        try:
            return post(self.name, self.location, call, body)
        except Unreachable:
            _activated.pop(self.name, None)
            raise


_activated: dict[str, Plugin] = {}


def open_plugin(name: str, subsystem: str) -> Plugin:
    """A plugin that answers; Unreachable if it does not, NoSuchDriver if there is none for `subsystem`."""
    location = discovery.find(name)
    if location is None:
        places = ", ".join((discovery.SOCKETS, *discovery.SPECS))
        raise NoSuchDriver(
            f"{name!r} is neither built in nor a Docker plugin of this host", hint=f"plugins are looked for in {places}"
        )
    plugin = _activated.get(name)
    if plugin is None or plugin.location != location:
        plugin = Plugin(name, location)
        plugin.implements = Activation.from_json(plugin.ask(ACTIVATE)).implements
        _activated[name] = plugin
    if subsystem not in plugin.implements:
        offers = ", ".join(plugin.implements) or "nothing"
        raise NoSuchDriver(f"the plugin {name} is no {subsystem}: it implements {offers}")
    return plugin
