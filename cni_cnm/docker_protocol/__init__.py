"""Docker's plugin protocol: the messages, and how a plugin is found and called.

    fields.py           typed reading of one JSON object, one sentence for every wrong value
    network_driver.py   requests and responses of NetworkDriver
    ipam_driver.py      requests and responses of IpamDriver
    options.py          the labels in a network's and an endpoint's Options
    ports.py            published and exposed ports as both of them write them

Both sides use the messages: the drivers that call a plugin, and the service that answers as one. Facts about the
protocol beyond Docker's documentation were recorded from a dockerd against a plugin that notes every request.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Json

ACTIVATE = "Plugin.Activate"
NETWORK_DRIVER = "NetworkDriver"
IPAM_DRIVER = "IpamDriver"


def failure(message: str) -> Json:
    """The body that says why a call failed.

    With status 200 Docker reads `Error` of an IPAM plugin and `Err` of a network plugin, with any other status `Err`
    of both: so both keys are written.
    """
    return {"Err": message, "Error": message}


def failure_of(body: Json) -> str:
    """The error that a decoded body carries under either key, "" if none."""
    if not isinstance(body, dict):
        return ""
    return next((text for key in ("Err", "Error") if isinstance(text := body.get(key), str) and text), "")
