"""tuning: what a link had before the plugin changed it, in a file. DEL restores it where the link still exists.

    /run/cni/tuning/CONTAINER_IFNAME.json

The sysctls are not in it: the plugin never restores them.
"""

from __future__ import annotations

import json

from cni_cnm.errors import DamagedRecord, IoFailed, file_hint
from cni_cnm.fields import Fields
from cni_cnm.json_text import decoder
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state import small_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import EndpointKey, Json

_decode = decoder()


class SavedTuning(NamedTuple):
    """None, "" and 0: the plugin did not change it."""

    mac: str = ""
    promisc: bool | None = None
    mtu: int = 0
    allmulti: bool | None = None
    txqlen: int | None = None


def path(key: EndpointKey, data_dir: str) -> str:
    return f"{data_dir}/{key.container_id}_{key.ifname}.json"


def parse(content: bytes) -> SavedTuning:
    """DamagedRecord for what the plugin would not read either."""
    try:
        fields = Fields(_decode(content), error=DamagedRecord)
    except ValueError as error:
        raise DamagedRecord(f"it is no JSON: {error}") from error
    return SavedTuning(
        fields.text("mac"),
        fields.flag("promisc") if "promisc" in fields else None,
        fields.whole("mtu"),
        fields.flag("allmulti") if "allmulti" in fields else None,
        fields.whole("txQLen") if "txQLen" in fields else None,
    )


def render(saved: SavedTuning) -> bytes:
    """As the plugin writes it."""
    document: dict[str, Json] = {
        "mac": saved.mac or None,
        "promisc": saved.promisc,
        "mtu": saved.mtu or None,
        "allmulti": saved.allmulti,
        "txQLen": saved.txqlen,
    }
    return json.dumps({key: value for key, value in document.items() if value is not None}, indent=1).encode()


def read(place: str) -> SavedTuning | None:
    """None if there is no file."""
    try:
        return parse(small_files.read(place))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IoFailed(f"{place} cannot be read: {error.strerror}") from error
    except DamagedRecord as error:
        raise DamagedRecord(f"{place} is not understood: {error.msg}") from error


def write(place: str, saved: SavedTuning) -> None:
    """IoFailed if the disk refuses it."""
    try:
        small_files.replace(place, render(saved))
    except OSError as error:
        raise IoFailed(f"{place} cannot be written: {error.strerror}", hint=file_hint(error)) from error


def remove(place: str) -> None:
    """No error if absent."""
    try:
        small_files.remove(place)
    except OSError as error:
        raise IoFailed(f"{place} cannot be removed: {error.strerror}", hint=file_hint(error)) from error
