"""A stand-in for the plugin tc-redirect-tap, which cannot be had as a module: its effects and its result.

Read from github.com/awslabs/tc-redirect-tap@34bf829 cmd/tc-redirect-tap/main.go (add, del).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.node import Node

_TAP = """\
#!/usr/bin/python3 -I
# As tc-redirect-tap: a tap device beside the interface, whose packets it gets, and a result with both sides of it.
import json, os, subprocess, sys
config = json.load(sys.stdin)
name, netns = os.environ["CNI_IFNAME"], os.environ["CNI_NETNS"]
enter = ["nsenter", "--net=" + netns]
if os.environ["CNI_COMMAND"] == "VERSION":
    print('{"cniVersion": "0.4.0", "supportedVersions": ["0.4.0", "1.0.0"]}')
elif os.environ["CNI_COMMAND"] == "DEL" and os.path.exists(netns):
    subprocess.run([*enter, "tc", "qdisc", "del", "dev", name, "ingress"], stderr=subprocess.DEVNULL)
    if "prevResult" in config:
        subprocess.run([*enter, "ip", "link", "del", "tap0"], stderr=subprocess.DEVNULL)
elif os.environ["CNI_COMMAND"] == "ADD":
    subprocess.run([*enter, "ip", "tuntap", "add", "tap0", "mode", "tap"], check=True)
    subprocess.run([*enter, "tc", "qdisc", "add", "dev", name, "ingress"], check=True)
    result = config["prevResult"]
    links = result["interfaces"]
    index = next(at for at, link in enumerate(links) if link["name"] == name and link.get("sandbox") == netns)
    links.append({"name": "tap0", "sandbox": netns, "mac": "02:00:00:00:00:01"})
    links.append({"name": "tap0", "sandbox": os.environ["CNI_CONTAINERID"], "mac": links[index]["mac"]})
    result["ips"] += [{**ip, "interface": len(links) - 1} for ip in result["ips"] if ip["interface"] == index]
    print(json.dumps(result))
"""


def put_tap(node: Node) -> None:
    """As `/run/others/tc-redirect-tap`."""
    node.write("/run/others/tc-redirect-tap", _TAP)
    node.path("/run/others/tc-redirect-tap").chmod(0o755)
