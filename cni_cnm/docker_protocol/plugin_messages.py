"""Messages about a plugin as a whole: what it implements, what it is able to do, nodes it is told of."""

from __future__ import annotations

from cni_cnm.docker_protocol import ACTIVATE
from cni_cnm.docker_protocol.body import request, response
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json

GET_CAPABILITIES = "NetworkDriver.GetCapabilities"
DISCOVER_NEW = "NetworkDriver.DiscoverNew"
DISCOVER_DELETE = "NetworkDriver.DiscoverDelete"

LOCAL, GLOBAL = "local", "global"
NODE = 1
"""The only DiscoveryType that Docker sends to plugins."""


class ActivateResponse(NamedTuple):
    """The subsystems that a socket serves."""

    implements: tuple[str, ...]

    def to_json(self) -> Json:
        return {"Implements": list(self.implements)}

    @classmethod
    def from_json(cls, raw: Json) -> ActivateResponse:
        return cls(response(ACTIVATE, raw).texts("Implements"))


class DriverCapabilities(NamedTuple):
    """The response to NetworkDriver.GetCapabilities."""

    scope: str
    """`local` or `global`: required."""
    connectivity_scope: str = ""
    """"": the same as `scope`."""
    gw_alloc_checker: bool = False
    """It is to be asked GwAllocCheck before a gateway is reserved."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {"Scope": self.scope}
        if self.connectivity_scope:
            body["ConnectivityScope"] = self.connectivity_scope
        if self.gw_alloc_checker:
            body["GwAllocChecker"] = True
        return body

    @classmethod
    def from_json(cls, raw: Json) -> DriverCapabilities:
        fields = response(GET_CAPABILITIES, raw)
        scope, connectivity = fields.text("Scope"), fields.text("ConnectivityScope")
        if scope not in (LOCAL, GLOBAL):
            raise fields.wrong("Scope", f"{LOCAL!r} or {GLOBAL!r}")
        if connectivity not in ("", LOCAL, GLOBAL):
            raise fields.wrong("ConnectivityScope", f"{LOCAL!r} or {GLOBAL!r}")
        return cls(scope, connectivity, fields.flag("GwAllocChecker"))


class Discovery(NamedTuple):
    """DiscoverNew and DiscoverDelete: a node of the cluster was added or removed."""

    kind: int
    data: Mapping[str, Json] = {}
    """For `NODE`: Address, BindAddress, Self."""

    def to_json(self) -> Json:
        return {"DiscoveryType": self.kind, "DiscoveryData": dict(self.data)}

    @classmethod
    def from_json(cls, raw: Json) -> Discovery:
        fields = request(DISCOVER_NEW, raw)
        return cls(fields.whole("DiscoveryType", 0, 0, 65535), fields.mapping("DiscoveryData"))
