"""What a release leaves on a host with live endpoints, as files. Made by python -m tests.upgrade.frozen VERSION.

    tests/upgrade/VERSION/
        state/…          the folders of records, leases and indexes, as they are on disk
        ruleset.nft      the packet filter
        links.json       links of the host ("") and of each container, by namespace
        scene.json       what the runtimes remember: results, Docker's pools and names of links

What differs between two hosts is replaced by EPOCH when it is written, and by the host's own in `restore`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.upgrade import versions
from tests.upgrade.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.upgrade.versions import Version

FOLDER = Path(__file__).parent
STATE = (
    "/var/lib/cni-cnm", "/var/lib/cni/networks",
    "/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/run/cni-cnm/firewall", "/run/cni-cnm/leases",
)  # fmt: skip
EPOCH = "the epoch of the host"


def records(version: str, kind: str) -> dict[str, Any]:
    """The frozen records of a kind (a folder's name) by file name."""
    paths = sorted((FOLDER / version / "state").rglob(f"{kind}/*.json"))
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def save(scene: Scene, folder: Path) -> None:
    epoch = _epoch(scene)
    shutil.rmtree(folder, ignore_errors=True)
    for inside in sorted(scene.node.files(*STATE)):
        if inside.endswith("/lock"):
            continue
        target = folder / "state" / inside.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        content = scene.node.path(inside).read_bytes()
        target.write_bytes(content.replace(json.dumps(epoch)[1:-1].encode(), EPOCH.encode()))
    (folder / "ruleset.nft").write_text(scene.node.run("nft", "list", "ruleset").ok().out, encoding="utf-8")
    _dump(folder / "links.json", {netns: _links(scene, netns) for netns in _namespaces(scene)})
    docker = scene.docker
    _dump(folder / "scene.json", {"results": scene.pods.results, "sources": docker.sources, "pools": docker.pools})


def restore(scene: Scene, folder: Path) -> None:
    """The host as `save` has found it, but for limits, sysctls and processes."""
    remembered = json.loads((folder / "scene.json").read_text(encoding="utf-8"))
    scene.pods.results, scene.docker.sources = remembered["results"], remembered["sources"]
    scene.docker.pools = remembered["pools"]
    links = json.loads((folder / "links.json").read_text(encoding="utf-8"))
    for netns in links:
        if netns not in ("", "router"):
            scene.node.add_netns(netns)
    for command in _commands(links):
        scene.node.run("sh", "-euc", command).ok()
    epoch = _epoch(scene)
    for path in sorted((folder / "state").rglob("*")):
        if path.is_file():
            inside = f"/{path.relative_to(folder / 'state')}"
            scene.node.path(inside).parent.mkdir(parents=True, exist_ok=True)
            scene.node.path(inside).write_bytes(_owned(scene, path.read_bytes(), epoch))
    scene.node.run("nft", "-f", "-", stdin=(folder / "ruleset.nft").read_text(encoding="utf-8")).ok()


def _owned(scene: Scene, content: bytes, epoch: str) -> bytes:
    """A state file with this host's epoch and namespaces."""
    content = content.replace(EPOCH.encode(), json.dumps(epoch)[1:-1].encode())
    if b'"netns_inode"' not in content:
        return content
    record = json.loads(content)
    if record["netns"] and record["netns_inode"]:
        record["netns_inode"] = os.stat(scene.node.path(record["netns"])).st_ino
    return json.dumps(record).encode()


def _commands(links: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """What makes the links: bridges first, then what stands on others, each with its addresses."""
    host = {link["ifindex"]: link for link in links[""]}
    for link in host.values():
        if link["kind"] in ("bridge", "ifb"):
            yield f"ip link add {link['ifname']} address {link['address']} mtu {link['mtu']} type {link['kind']}"
    for netns, there in links.items():
        for link in there if netns not in ("", "router") else ():
            name = f"{link['ifname']} netns {netns} address {link['address']} mtu {link['mtu']}"
            outer = host.get(link["link_index"])
            if link["kind"] == "macvlan":
                yield f"ip link add link lan0 name {name} type macvlan mode bridge"
            elif link["kind"] == "veth" and outer is not None:
                yield f"ip link add {outer['ifname']} address {outer['address']} type veth peer name {name}"
                yield from _settings(link, f"ip -n {netns}")
    for link in host.values():
        if link["ifname"] != "lan0":
            yield from _settings(link, "ip")


def _settings(link: dict[str, Any], ip: str) -> Iterator[str]:
    name = link["ifname"]
    for key, word in (("ifalias", "alias"), ("master", "master"), ("group", "group")):
        if link[key]:
            yield f"{ip} link set {name} {word} '{link[key]}'"
    if link["up"]:
        yield f"{ip} link set {name} up"
    for address in link["addresses"]:
        yield f"{ip} address add {address} dev {name}{' nodad' if ':' in address else ''}"


def _links(scene: Scene, netns: str) -> list[dict[str, Any]]:
    return [
        {
            **{key: link[key] for key in ("ifindex", "ifname", "address", "mtu")},
            **{key: link.get(key, "") for key in ("ifalias", "master", "group", "link_index")},
            "kind": link.get("linkinfo", {}).get("info_kind", ""),
            "up": "UP" in link["flags"],
            "addresses": [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"],
        }
        for link in scene.node.ip("-d", "address", netns=netns and f"/run/netns/{netns}")
        if link["ifname"] != "lo"
    ]


def _namespaces(scene: Scene) -> list[str]:
    return ["", *sorted(path.name for path in scene.node.path("/run/netns").iterdir())]


def _epoch(scene: Scene) -> str:
    head = f"import sys; sys.path.insert(0, {str(scene.version.root)!r})"
    script = f"{head}\nfrom cni_cnm.state import epoch\nprint(epoch.current())"
    return scene.node.run(sys.executable, "-I", "-c", script).ok().out.strip()


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        version: Version | None = versions.released(name, Path(scratch))
        if version is None:
            sys.exit(f"the history of this checkout does not reach back to {name}")
        scene = Scene(Path(scratch), version)
        try:
            for frontend in scene.frontends:
                frontend.make(1)
            save(scene, FOLDER / name)
        finally:
            scene.close()


if __name__ == "__main__":
    main(sys.argv[1])
