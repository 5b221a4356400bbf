"""A Docker plugin that was found and activated, and the calls to it.

    open_plugin(name, NETWORK_DRIVER)   the plugin; NoSuchDriver if there is none, or it does not implement that
    plugin.send(message)                the decoded response
    send_removal(name, …, message)      a Leave, Delete or Release: its errors say whether it is to be repeated
    undo(plugin, error, …)              calls that undo what a failed call may have done

A plugin is activated once, and again after it could not be reached: it may have been replaced.
"""

from __future__ import annotations

from typing import Protocol

from cni_cnm.docker_protocol import ACTIVATE, discovery
from cni_cnm.docker_protocol.http import post
from cni_cnm.docker_protocol.plugin_messages import ActivateResponse
from cni_cnm.errors import (
    CnmError,
    DriverFailed,
    NoSuchDriver,
    NotReady,
    PluginAnswerLost,
    PluginFailed,
    PluginRefused,
    PluginUnreachable,
    TryAgain,
    Unfinished,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cni_cnm.docker_protocol.discovery import Location
    from cni_cnm.model import Json

STATUS_LIMIT_S = 0.9
"""STATUS may take 2 s, and may have two plugins to ask."""
UNDO_LIMIT_S = 5.0


class Message(Protocol):
    """A request of one of the modules `…_messages`."""

    @property
    def call(self) -> str: ...
    def to_json(self) -> Json: ...


class Plugin:
    def __init__(self, name: str, location: Location) -> None:
        self.name = name
        self.location = location
        self.implements: tuple[str, ...] = ()
        self._responses: dict[str, Json] = {}

    def send(self, message: Message, limit_s: float | None = None) -> Json:
        """The decoded response. Errors as `http.post`. `limit_s` None: the setting `plugin_wait`, here and below."""
        return self.call(message.call, message.to_json(), limit_s)

    def call(self, call: str, body: Json | None = None, limit_s: float | None = None) -> Json:
        """As `send`. `body` None: an empty body, as Docker sends it where a call has no arguments."""
        try:
            return post(self.name, self.location, call, body, limit_s)
        except PluginUnreachable:
            _activated.pop(self.name, None)
            raise

    def call_once(self, call: str) -> Json:
        """The response to a call without arguments, asked for once in the life of this object."""
        if call not in self._responses:
            self._responses[call] = self.call(call)
        return self._responses[call]


_activated: dict[str, Plugin] = {}


def open_plugin(name: str, subsystem: str, limit_s: float | None = None, built_in: Collection[str] = ()) -> Plugin:
    """The plugin of that name, activated. `built_in`: names that may have been meant, for the message.

    NoSuchDriver if there is none or it does not implement `subsystem`; PluginUnreachable if it does not answer.
    """
    location = discovery.find(name)
    if location is None:
        from cni_cnm import spelling

        near = spelling.meant(name, built_in)
        raise NoSuchDriver(
            f"{name!r} is neither a built-in driver nor a Docker plugin on this host",
            hint=f"did you mean {near}?" if near else discovery.hint(),
        )
    plugin = _activated.get(name)
    if plugin is None or plugin.location != location:
        plugin = Plugin(name, location)
        plugin.implements = ActivateResponse.from_json(plugin.call(ACTIVATE, limit_s=limit_s)).implements
        _activated[name] = plugin
    if subsystem not in plugin.implements:
        implemented = ", ".join(plugin.implements) or "nothing"
        raise NoSuchDriver(f"the plugin {name} does not implement {subsystem}, it implements {implemented}")
    return plugin


def send_removal(
    name: str, subsystem: str, message: Message, *, optional: bool = False, limit_s: float | None = None
) -> None:
    """Send a call that removes something.

    PluginRefused if the plugin answers with an error: the caller goes on, as libnetwork does. TryAgain if the plugin
    does not answer: the call is to be repeated. `optional`: 404, a call that the plugin does not have, is no error.
    """
    try:
        plugin = open_plugin(name, subsystem, limit_s)
    except (NoSuchDriver, DriverFailed) as error:
        raise TryAgain(
            f"{message.call} cannot be sent to the plugin {name}: {error.msg}",
            hint="start the plugin again; docs/plugins.md says what to do without it",
        ) from error
    try:
        plugin.send(message, limit_s)
    except PluginAnswerLost as error:
        raise TryAgain(error.msg, hint=error.hint) from error
    except DriverFailed as error:
        if not (optional and isinstance(error, PluginFailed) and error.unsupported):
            raise PluginRefused(error.msg, hint=error.hint) from error


def had_no_effect(error: CnmError) -> bool:
    """Whether a call that failed with `error` did nothing: the plugin answered with an error, or was not reached."""
    return isinstance(error, PluginFailed) or (isinstance(error, PluginUnreachable) and not error.sent)


def undo(plugin: Plugin, error: CnmError, *messages: Message) -> None:
    """Send the calls that undo what the call that failed with `error` may have done.

    Unfinished if the plugin does not answer one of them, or did not answer the call in time: it may be at work on it
    still, and complete it after it has answered the others. So what it has done is not known.
    """
    for message in messages:
        try:
            plugin.send(message, UNDO_LIMIT_S)
        except (PluginUnreachable, PluginAnswerLost) as second:
            unfinished = Unfinished(error.msg, hint=error.hint)
            unfinished.add_note(f"while undoing: {second}")
            raise unfinished from error
        except CnmError as second:
            error.add_note(f"while undoing: {second}")
    if isinstance(error, PluginUnreachable) and error.sent:
        raise Unfinished(error.msg, hint=error.hint) from error


def require_answer(name: str, subsystem: str, call: str) -> None:
    """NotReady unless the plugin answers `call` in `STATUS_LIMIT_S`. An error is an answer."""
    from time import monotonic

    deadline = monotonic() + STATUS_LIMIT_S
    try:
        plugin = open_plugin(name, subsystem, STATUS_LIMIT_S)
        plugin.call(call, limit_s=max(deadline - monotonic(), 0.1))
    except PluginFailed:
        return
    except CnmError as error:
        raise NotReady(error.msg, hint=error.hint) from error
