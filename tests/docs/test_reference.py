"""The documentation against the code: every key, code, variable and command there is, every example, every link."""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cni_cnm import cli, errors, ipam
from cni_cnm import settings as settings_module
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.cni import conventions, environ, request, unused_keys, versions
from cni_cnm.cni.document import decode
from cni_cnm.cnm.interface import shaping, tuning
from cni_cnm.docker_protocol import discovery
from cni_cnm.docker_protocol.discovery import Location
from cni_cnm.drivers import bridge_options, drivers, parent_link_options, ptp_options
from cni_cnm.errors import CnmError, InvalidConfig, UnsupportedField
from cni_cnm.fields import Fields
from cni_cnm.firewall import portmap_options
from cni_cnm.ipam import remote_config
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec
from tests.docs.pages import PAGES, blocks
from tests.ipam_host import ipam_host
from tests.program import ROOT
from tests.unit.cni.engine import CONF, ENV

CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
CODE_WORDS = {word.lower() for word in re.findall(r"`([^`\n]+)`", CONFIGURATION)}
"""Everything set as code on the page, in lower case, as keys are matched."""
CALL = environ.read(ENV)


class Asked(dict[str, Any]):
    """The values of a `Fields`. It notes which keys are asked for."""

    def __init__(self, values: Mapping[str, Any], keys: set[str]) -> None:
        super().__init__(values)
        self._keys = keys

    def get(self, key: str, default: Any = None) -> Any:
        self._keys.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self._keys.add(str(key))
        return super().__contains__(key)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The keys, in lower case, that any `Fields` is asked for."""
    keys: set[str] = set()
    init = Fields.__init__

    def watched(self: Fields, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        self._values = Asked(self._values, keys)

    monkeypatch.setattr(Fields, "__init__", watched)
    return keys


def examples() -> list[Any]:
    """Every network configuration shown or shipped, as a runtime hands its parts to plugins."""
    shown = [pytest.param(block.text, id=block.where) for block in blocks("json")]
    typed = [
        pytest.param(text, id=f"{block.where} {number}")
        for block in blocks("console")
        for number, text in enumerate(re.findall(r"'(\{.*\})'", block.text))
    ]
    shipped = sorted((ROOT / "conf").glob("cni-*/*.conflist"))
    return [*shown, *typed, *(pytest.param(path.read_text(), id=str(path.relative_to(ROOT))) for path in shipped)]


def undocumented(keys: set[str] | frozenset[str]) -> set[str]:
    return {key for key in keys if key.lower() not in CODE_WORDS}


def test_keys_of_the_cni_frontend_are_documented() -> None:
    """Every key of a network configuration and of runtimeConfig that the CNI frontend reads is on the page."""
    keys = request.OWN_KEYS | frozenset(request.RUNTIME_PREFIXES) | frozenset(request.VALID)
    assert not undocumented(keys | conventions.RUNTIME_KEYS)


@pytest.mark.parametrize("name", [*drivers, "any-plugin"])
def test_keys_of_the_drivers_are_documented(name: str) -> None:
    """Every key of a network configuration that a driver declares; those of the reference plugin are among them."""
    declared = drivers.get(name).configuration
    assert not undocumented(declared.keys or set())
    assert declared.keys is None or declared.reference_keys <= declared.keys


def test_blocks_of_chained_plugins_are_documented_as_they_are() -> None:
    """A block the plugin serves has a heading of its own; one that it refuses is listed as refused."""
    for link in request.BLOCKS:
        document = {**CONF, link: {"any": 1}}
        try:
            request.network_of(document, Fields(document), CALL)
            served = True
        except UnsupportedField:
            served = False
        except InvalidConfig:
            served = True
        assert served == bool(re.search(rf"^### `{link}`", CONFIGURATION, re.MULTILINE)), link
        assert undocumented({link}) == set()


def test_keys_of_the_bridge_are_documented(asked: set[str]) -> None:
    """Every option the bridge driver reads, in either profile, and its labels."""
    for profile in (request.REFERENCE, request.CNM):
        raw = {"profile": profile, "vlantrunk": [{"minid": 5, "maxid": 6, "id": 9}]}
        bridge_options.parse(NetworkSpec("podnet", options=raw))
    assert {"hairpinmode", "minid", "mtu"} <= asked
    assert not undocumented((asked - {"labels"}) | set(bridge_options.LABELS))


def test_labels_of_ptp_are_documented() -> None:
    assert not undocumented(set(ptp_options.LABELS))


def test_keys_of_macvlan_and_ipvlan_are_documented() -> None:
    """Every option of the two, by Docker's names and the reference plugins'; and their modes and flags."""
    for table in (parent_link_options.LABELS, parent_link_options.REFERENCE_ONLY, parent_link_options.MODES):
        assert not undocumented({word for words in table.values() for word in words})
    assert not undocumented(set(parent_link_options.FLAGS))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("host-local", {"ranges": [[{"subnet": "10.1.0.0/24"}]], "routes": [{"dst": "10.2.0.0/16"}]}),
        ("host-local", {"subnet": "10.1.0.0/24"}),
        ("static", {"addresses": [{"address": "10.1.0.2/24"}], "routes": [{"dst": "::/0"}], "dns": {}}),
    ],
)
def test_keys_of_the_ipams_are_documented(kind: str, content: dict[str, Any], asked: set[str]) -> None:
    """Every key that the built-in IPAMs look for, in nested objects too."""
    spec = IpamSpec(kind, content)
    ipam.configure("podnet", spec, EndpointSpec("c1", "eth0", "", "cni/test"), ipam_host())
    assert {"routes", "dst"} <= asked or "rangestart" in asked
    assert not undocumented(asked)


def test_keys_of_an_ipam_plugin_are_documented() -> None:
    """Every key that is read for a Docker IPAM plugin, and those refused."""
    source = (ROOT / "cni_cnm" / "ipam" / "remote_config.py").read_text(encoding="utf-8")
    keys = set(re.findall(r'(?:fields|ipam|_fields\(spec\))\.\w+\("(\w+)"', source))
    assert {"ipRange", "auxAddresses", "options", "addressSpace"} <= keys
    assert not undocumented(keys | set(remote_config._HOST_LOCAL_ONLY))


def test_keys_of_published_ports_are_documented(asked: set[str]) -> None:
    """Every key of the block `portmap` and of a port mapping."""
    portmap_options.parse_options({"conditionsV4": ["ip"]})
    portmap_options.parse_mappings([{"hostPort": 80, "containerPort": 80}])
    assert {"snat", "hostip", "range", "conditionsv6"} <= asked
    assert not undocumented(asked)


def test_keys_of_bandwidth_and_tuning_are_documented() -> None:
    """Every key of the two blocks."""
    assert not undocumented({*shaping.KEYS, *tuning.KEYS, "shapedSubnets", "unshapedSubnets"})


def test_built_in_names_and_versions_are_documented() -> None:
    """Drivers, IPAM types, and the CNI versions that are spoken."""
    names = {name for name in (*drivers, *ipam.ipams) if name not in ("", "pools")}
    assert not undocumented(names)
    assert all(version in CONFIGURATION for version in versions.SUPPORTED)


def test_the_settings_file_of_packages() -> None:
    """conf/config.toml is comments, among them every key with its default; the pools are an example."""
    text = (ROOT / "conf/config.toml").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == []
    shown = tomllib.loads("\n".join(re.findall(r"^# (\w+ = .*|\[\w+\])$", text, re.MULTILINE)))
    assert set(shown["cluster"]) == set(ClusterSettings._fields)
    defaults = settings_module.Settings()._asdict()
    assert set(shown) == set(defaults)
    assert {key: value for key, value in shown.items() if value != defaults[key]}.keys() == {
        "default_address_pools",
        "cluster",
    }


def test_settings_are_documented() -> None:
    """Every key of the settings file, and its default as it is."""
    defaults = settings_module.Settings()
    for key in (*settings_module.Settings._fields, *ClusterSettings._fields):
        row = next(line for line in CONFIGURATION.splitlines() if line.startswith(f"| `{key}` |"))
        default = getattr(defaults, key, None)
        assert not isinstance(default, str) or f"`{default}`" in row


def test_environment_variables_are_documented() -> None:
    """Every CNI_* variable that the program or the relay names."""
    sources = [*(ROOT / "cni_cnm").rglob("*.py"), ROOT / "build" / "relay.c"]
    named = {name for path in sources for name in re.findall(r"\bCNI_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))}
    assert {"CNI_CNM_TIMEOUT", "CNI_CNM_CONFIG", "CNI_NETNS"} <= named
    assert not undocumented(named)


def test_error_codes_are_documented() -> None:
    """The table of errors is the tree: each class, its code and its HTTP status, nothing more."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (\d+) \|", CONFIGURATION, re.MULTILINE)
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, CnmError)]
    assert sorted(rows) == sorted((str(c.code), c.__name__, str(c.http_status)) for c in classes)


def test_every_code_has_advice() -> None:
    """The operations page says for each code where to look first."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    advised = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for code in row.split(",")}
    classes = (c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, CnmError))
    assert advised == {c.code for c in classes}


def test_commands_are_in_the_manual() -> None:
    """Every noun, verb, option and argument of the command line is in the man page."""
    manual = (ROOT / "docs" / "cni-cnm.8.md").read_text(encoding="utf-8")
    wanted = set(_command_line(cli._parser()))
    assert {"**--gateway**", "**network ls**", "_ENDPOINT_"} <= wanted
    missing = {text for text in wanted if text not in manual and text.replace("**", "", 2) not in manual}
    assert not missing


def _command_line(parser: argparse.ArgumentParser, path: str = "") -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from _command_line(child, f"{path} {name}".strip())
        elif action.option_strings:
            yield from (f"**{option}**" for option in action.option_strings)
        else:
            yield f"_{action.dest.upper()}_"
    if path and not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions):
        yield f"**{path}**"


@pytest.mark.parametrize("text", examples())
def test_examples_are_understood(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every configuration shown, shipped or inside a command is read whole, without a warning."""
    there = Location("/run/docker/plugins/my-plugin.sock", "unix", "/run/docker/plugins/my-plugin.sock")
    monkeypatch.setattr(discovery, "find", lambda name: there if name == "my-plugin" else None)
    document = decode(text.encode())
    plugins = document.get("plugins", [document])
    ours = [plugin for plugin in plugins if plugin["type"] == "cni-cnm"]
    assert ours
    for plugin in ours:
        whole = {**plugin, "cniVersion": document["cniVersion"], "name": document["name"]}
        config = Fields(whole)
        network = request.network_of(whole, config, CALL)
        endpoint = request.endpoint_of(config, CALL, "cni/test")
        versions.require("ADD", request.version_of(config))
        drivers.get(network.driver).options(network)
        kind = network.ipam.type
        assert not [*unused_keys.unknown(whole, config, kind), *unused_keys.notes(config, kind)]
        chosen_later = network.options["profile"] == request.CNM and not {"subnet", "ranges"} & set(network.ipam.config)
        if not chosen_later:
            ipam.configure(network.name, network.ipam, endpoint, ipam_host()).validate(endpoint)


def _headings(page: Path) -> list[str]:
    return re.findall(r"^#+ +(.+?) *$", page.read_text(encoding="utf-8"), re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Of the headings, as forges make them: lower case, blanks to hyphens, punctuation dropped."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _headings(page)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file that is there, and to a heading that is in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        assert not anchor or anchor in _anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    """Every path of this repository that is set as code is there, placeholders in capitals apart."""
    named = re.findall(r"`((?:cni_cnm|tests|docs|scripts|conf|build)/[^`\s]*)`", page.read_text(encoding="utf-8"))
    fixed = {name for name in named if not re.search(r"[A-Z]{2,}|[*…]", name)}
    assert sorted(name for name in fixed if not (ROOT / name).exists()) == []


def test_pages_named_in_the_code_exist() -> None:
    """A page that a comment names is there, and so is the section if it names one."""
    sources = [*(ROOT / "cni_cnm").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / "pyproject.toml"]
    named = [
        match
        for path in sources
        for match in re.findall(r'(docs/[\w/-]+\.md)(?:`?, "(.+?)")?', path.read_text(encoding="utf-8"))
    ]
    assert named
    for page, section in named:
        assert (ROOT / page).exists(), page
        assert not section or section in _headings(ROOT / page), f'{page}, "{section}"'
