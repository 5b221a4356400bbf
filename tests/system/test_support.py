"""`cni-cnm support` on a host with a canary in everything that it could read."""

from __future__ import annotations

import json
import tarfile
from base64 import b64encode
from typing import Any

import pytest

from tests.side import Side

CANARY = "canary4711"
ADDRESS = "10.61.47.0/24"
NET: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "name": f"net-{CANARY}",
    "bridge": "br-net",
    "options": {"profile": "cnm"},
    "labels": {f"label-{CANARY}": f"value-{CANARY}"},
    "ipam": {"type": "host-local", "ranges": [[{"subnet": ADDRESS}]]},
    "dns": {"search": [f"{CANARY}.example"]},
    f"unknown-{CANARY}": CANARY,
}
CONFIG = f"""
log = "/run/cni-cnm.log"
docker_api = "/run/{CANARY}.sock"
[cluster]
store = "etcd"
endpoints = ["http://{CANARY}.example:2379", "http://127.0.0.1:2379"]
node = "{CANARY}"
prefix = "/{CANARY}"
username = "{CANARY}"
password_file = "/etc/{CANARY}"
"""


@pytest.mark.parametrize("addresses", [False, True])
def test_no_canary_is_in_it(side: Side, addresses: bool) -> None:
    node = side.node
    node.write("/etc/cni-cnm/config.toml", CONFIG)
    node.write(f"/etc/{CANARY}", CANARY)
    text = b64encode(CANARY.encode()).decode()
    taken = {"schema": 1, "network": CANARY, "way": "adopt", "done": False, "path": f"/etc/cni/net.d/{CANARY}"}
    files = {
        "before": text,
        "after": text,
        "cache": f"/{CANARY}",
        "cached": {CANARY: text},
        "forms": ["iptables", CANARY],
    }
    node.write(f"/var/lib/cni-cnm/adopt/{CANARY}.json", json.dumps({**taken, **files}))
    node.write("/run/cni-cnm/events", json.dumps({"time": 1.0, "kind": "noted", "sentence": CANARY, "network": CANARY}))
    node.write("/etc/cni/net.d/10-net.conflist", json.dumps({"cniVersion": "1.0.0", "name": CANARY, "plugins": [NET]}))
    args = f"K8S_POD_NAMESPACE={CANARY};K8S_POD_NAME={CANARY};K8S_POD_UID={CANARY}"
    config = {key: value for key, value in NET.items() if key != "options"}
    side.container(CANARY)
    side.add(config, CANARY, args=args).ok()
    side.add(config, "c1", args=f"K8S_POD_NAME={CANARY};MAC={CANARY}")
    node.run("nft", "add table inet other; add chain inet other c { type filter hook input priority 0 ; }").ok()
    node.run("nft", f'add rule inet other c ip saddr 192.0.2.47 counter comment "{CANARY}"').ok()
    options = ["--with-addresses"] if addresses else []
    done = node.run(str(side.executable), "support", "/run/support.tar.gz", *options, env={"PASSWORD": CANARY}).ok()
    assert done.out == "/run/support.tar.gz\n"
    texts = {}
    with tarfile.open(node.path("/run/support.tar.gz")) as read:
        for member in read.getmembers():
            content = read.extractfile(member)
            assert content is not None
            texts[member.name.partition("/")[2]] = content.read().decode()
    whole = {name: json.loads(text) for name, text in texts.items()}
    assert not [name for name, value in whole.items() if isinstance(value, dict) and "unreadable" in value]
    found = [name for name, text in texts.items() if CANARY in text]
    assert set(found) <= ({"doctor.json"} if addresses else set())
    held = [name for name, text in texts.items() if "10.61.47." in text or "192.0.2.47" in text]
    assert bool(held) == addresses
    assert len(whole["endpoints.json"]) == 1
    assert whole["endpoints.json"][0]["state"] == "ready"
    assert not [name for name, one in texts.items() if text in one]
    assert whole["adoptions.json"][0] == {
        "way": "adopt", "done": False, "attachments": 1, "forms": ["iptables", ""], "older_portmap": False,
    }  # fmt: skip
    assert {"ADD"} == {line["verb"] for line in whole["log.json"]}
