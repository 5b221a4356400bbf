"""The tables of keys in docs/configuration.md, tried on the code: each default, and which values are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from cni_cnm import ipam
from cni_cnm.cni import environ, request, versions
from cni_cnm.drivers import drivers
from cni_cnm.errors import CnmError
from cni_cnm.fields import Fields
from cni_cnm.kernel import firewalld
from cni_cnm.model import IpamSpec
from tests.ipam_host import ipam_host
from tests.program import ROOT
from tests.unit.cni.engine import ENV, ask

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
CALL = environ.read(ENV)
CONF: dict[str, Any] = {"cniVersion": "1.0.0", "name": "podnet", "type": "cni-cnm", "ipam": {"subnet": "10.1.0.0/24"}}
REFERENCE = {**CONF, "profile": "reference", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}
MACVLAN = {**CONF, "driver": "macvlan"}
PLACES: Mapping[str, tuple[dict[str, Any], str]] = {
    "Keys of both profiles": (CONF, ""),
    "Keys of the reference profile": (REFERENCE, ""),
    "Keys of one bridge port": (REFERENCE, ""),
    "Keys of the cnm profile": (CONF, ""),
    "Labels of the cnm profile": (CONF, "options"),
    "Drivers macvlan and ipvlan": (MACVLAN, ""),
    "`firewall`": (CONF, "firewall"),
    "`bandwidth`": (CONF, "bandwidth"),
    "`tuning`": (CONF, "tuning"),
    "`portmap`": (CONF, "portmap"),
    "host-local": (CONF, "ipam"),
    "static": ({**CONF, "ipam": {"type": "static", "addresses": [{"address": "10.1.0.2/24"}]}}, "ipam"),
}
"""Under which heading which configuration gets the key, and in which object of it."""
WRONG: Mapping[str, Any] = {
    "boolean": "perhaps",
    "integer": "many",
    "string": {"a": 1},
    "object": "text",
    "list": 5,
    "CIDR": "ten",
    "address": "ten",
    "absolute": "relative",
    "path": {"a": 1},
}
"""A value that no key of the type accepts, by the first word of the type."""


VERBS = {
    "statusExhausted": "STATUS",
    "prevResult": "CHECK",
    "cni.dev/valid-attachments": "GC",
    "cni.dev/attachments": "GC",
}
"""Keys that only one verb reads."""


class Row(NamedTuple):
    heading: str
    key: str
    type: str
    default: str
    refused: str

    def conf(self, value: object) -> dict[str, Any]:
        """The configuration with this key set."""
        base, inside = PLACES[self.heading]
        if self.heading.startswith("Drivers"):
            base = {**base, "driver": "ipvlan" if self.key.startswith("ipvlan") else "macvlan"}
            if self.type == "label":
                inside = "options"
            else:
                base = {**REFERENCE, "driver": "macvlan"}
        if not inside:
            return {**base, self.key: value}
        return {**base, inside: {**base.get(inside, {}), self.key: value}}


def rows() -> list[Row]:
    found = []
    heading, header = "", list[str]()
    for line in PAGE.splitlines():
        if line.startswith("#"):
            heading, header = line.lstrip("# "), []
        if not line.startswith("| ") or heading not in PLACES:
            header = [] if not line.startswith("|") else header
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not header:
            header = [cell.strip() for cell in cells]
            continue
        named = dict(zip(header, cells, strict=False))
        for key in re.findall(r"`([\w./-]+)`", cells[0]):
            kind = named.get("type", header[0])
            found.append(Row(heading, key, kind, named.get("default", ""), named.get("refused", "")))
    return found


def read(conf: dict[str, Any], *, expected_addresses: bool = True) -> tuple[object, ...]:
    """All that the configuration says, as values of the code. The IPAM's refusal is a value if it is expected."""
    config = Fields(conf)
    versions.require("ADD", request.version_of(config))
    request.owner_of(config, CALL.environ)
    network = request.network_of(conf, config, CALL)
    endpoint = request.endpoint_of(config, CALL, "cni/test")
    try:
        pool = ipam.configure(network.name, network.ipam, endpoint, ipam_host())
        pool.validate(endpoint)
        addresses: object = pool.record()
    except CnmError as error:
        if expected_addresses:
            raise
        addresses = str(error)
    parsed = network._replace(options={}, ipam=IpamSpec(""))
    options = drivers.get(network.driver).options(network)
    if getattr(options, "zone", "") == firewalld.TRUSTED:  # what no zone becomes where it is used
        options = options._replace(zone="")
    return options, parsed, endpoint, addresses


def literal(row: Row) -> object:
    """A default that the table states as a value; None if it states none."""
    text = row.default.split(" (")[0]
    if text in ("true", "false") or text.isdigit():
        return json.loads(text)
    quoted = re.fullmatch(r"`([^`]*)`", text)
    if quoted is None:
        return None
    return json.loads(quoted[1]) if quoted[1][:1] in "{[" else quoted[1]


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.heading}-{row.key}")
def test_defaults(row: Row) -> None:
    """A key with its default is the same as no key."""
    value = literal(row)
    if value is None:
        return
    without = row.conf(value)
    for holder in (without, *(v for v in without.values() if isinstance(v, dict))):
        holder.pop(row.key, None)
    assert read(row.conf(value), expected_addresses=False) == read(without, expected_addresses=False)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.heading}-{row.key}")
def test_wrong_values(row: Row) -> None:
    """A value of another type is refused with the code that the table has."""
    codes = {int(code) for code in re.findall(r"(?:: |^)(\d+)\b", row.refused)}
    wrong = WRONG.get(row.type.split()[0].rstrip(","))
    if wrong is None or not codes:
        return
    conf = row.conf(wrong)
    try:
        read(conf)
        answer = ask(VERBS.get(row.key, "ADD"), {**conf, "cniVersion": "1.1.0"})
        code, message = answer.code, answer.json["msg"]
    except CnmError as error:
        code, message = error.code, str(error)
    assert code in codes, message
    assert row.key.lower() in message.lower()
