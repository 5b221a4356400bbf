"""A Docker plugin for tests, a program of its own: it records every request, really makes bridges and veths, keeps
addresses, and can be told to fail.

    python recording_plugin.py FOLDER ADDRESS [PEM]   ADDRESS: the path of a socket, or 127.0.0.1:PORT; PEM: for TLS

    FOLDER/requests      a line of JSON for each request: [call, body, headers]
    FOLDER/script.json   {CALL: {"error": TEXT} | {"status": N} | {"raw": TEXT} | {"hang": SECONDS} | {"die": "before" |
                         "after"} | {"late": SECONDS} | {"merge": {…}}}, read anew for each request. During a hang no
                         other request is answered; a late one has its effect when its time is over
    FOLDER/memory.json   what it knows, if `keep` is in the script

Errors come as go-plugins-helpers sends them: status 500 and {"Err": …}.
"""

from __future__ import annotations

import http.server
import ipaddress
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
LOCK = threading.Lock()


class Refusal(Exception):
    pass


class Plugin:
    """NetworkDriver with a bridge a network, IpamDriver with the lowest free address."""

    def __init__(self) -> None:
        self.networks: dict[str, Any] = {}
        self.endpoints: dict[str, Any] = {}
        self.pools: dict[str, Any] = {}
        file = FOLDER / "memory.json"
        if file.exists():
            self.networks, self.endpoints, self.pools = json.loads(file.read_text())

    def keep(self) -> None:
        (FOLDER / "memory.json").write_text(json.dumps([self.networks, self.endpoints, self.pools]))

    def answer(self, call: str, body: Any) -> Any:
        room, _, verb = call.partition(".")
        return getattr(self, f"{'ipam_' if room == 'IpamDriver' else ''}{verb.lower()}")(body)

    def activate(self, _: Any) -> Any:
        return {"Implements": ["NetworkDriver", "IpamDriver"]}

    # NetworkDriver ----------------------------------------------------------

    def getcapabilities(self, _: Any) -> Any:
        return {"Scope": "local", "ConnectivityScope": "local"}

    def gwalloccheck(self, _: Any) -> Any:
        return {"SkipIPv4": True}

    def createnetwork(self, body: Any) -> Any:
        if body["NetworkID"] in self.networks:
            raise Refusal("the network exists")
        bridge = f"rp{body['NetworkID'][:9]}"
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", bridge, "up")
        gateways = [data["Gateway"] for data in body["IPv4Data"] + body["IPv6Data"] if data.get("Gateway")]
        for gateway in gateways:
            ip("addr", "add", gateway, "dev", bridge, *(["nodad"] if ":" in gateway else []))
        internal = body["Options"].get("com.docker.network.internal", False)
        self.networks[body["NetworkID"]] = {"bridge": bridge, "gateways": gateways, "internal": internal}
        return {}

    def deletenetwork(self, body: Any) -> Any:
        found = self.networks.pop(self._network(body)["id"])
        ip("link", "del", found["bridge"])
        return {}

    def createendpoint(self, body: Any) -> Any:
        network = self._network(body)
        if body["EndpointID"] in self.endpoints:
            raise Refusal("the endpoint exists")
        near, far = f"rh{body['EndpointID'][:9]}", f"rc{body['EndpointID'][:9]}"
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        ip("link", "set", near, "master", network["bridge"])
        ip("link", "set", near, "up")
        self.endpoints[body["EndpointID"]] = {"network": body["NetworkID"], "near": near, "far": far}
        return {"Interface": {}}

    def deleteendpoint(self, body: Any) -> Any:
        endpoint = self._endpoint(body)
        if subprocess.run(["ip", "link", "show", endpoint["far"]], capture_output=True).returncode == 0:
            (FOLDER / "put_back").write_text(endpoint["far"])
        subprocess.run(["ip", "link", "del", endpoint["near"]], capture_output=True)
        del self.endpoints[body["EndpointID"]]
        return {}

    def join(self, body: Any) -> Any:
        endpoint, network = self._endpoint(body), self._network(body)
        answer: dict[str, Any] = {"InterfaceName": {"SrcName": endpoint["far"], "DstPrefix": "eth"}}
        for gateway in [] if network["internal"] else network["gateways"]:
            answer["GatewayIPv6" if ":" in gateway else "Gateway"] = gateway.partition("/")[0]
        return answer

    def leave(self, body: Any) -> Any:
        self._endpoint(body)
        return {}

    def programexternalconnectivity(self, body: Any) -> Any:
        self._endpoint(body)
        return {}

    revokeexternalconnectivity = programexternalconnectivity

    def endpointoperinfo(self, body: Any) -> Any:
        return {"Value": {"bridge": self.networks[self._endpoint(body)["network"]]["bridge"]}}

    def _network(self, body: Any) -> Any:
        found = self.networks.get(body["NetworkID"])
        if found is None:
            raise Refusal(f"network {body['NetworkID'][:12]} not found")
        return {**found, "id": body["NetworkID"]}

    def _endpoint(self, body: Any) -> Any:
        found = self.endpoints.get(body["EndpointID"])
        if found is None:
            raise Refusal(f"endpoint {body['EndpointID'][:12]} not found")
        return found

    # IpamDriver -------------------------------------------------------------

    def ipam_getcapabilities(self, _: Any) -> Any:
        return {"RequiresMACAddress": False, "RequiresRequestReplay": False}

    def ipam_getdefaultaddressspaces(self, _: Any) -> Any:
        return {"LocalDefaultAddressSpace": "rec-local", "GlobalDefaultAddressSpace": "rec-global"}

    def ipam_requestpool(self, body: Any) -> Any:
        pool = body["Pool"]
        if not pool:
            number = next(n for n in range(256) if self._free(n, body["V6"]))
            pool = self._chosen(number, body["V6"])
        pool_id = f"{body['AddressSpace']}/{pool}"
        if pool_id in self.pools:
            raise Refusal(f"the pool {pool} is taken")
        self.pools[pool_id] = {"part": body["SubPool"] or pool, "pool": pool, "taken": []}
        return {"PoolID": pool_id, "Pool": pool, "Data": {}}

    def _chosen(self, number: int, v6: bool) -> str:
        return f"fd00:{number:x}::/64" if v6 else f"10.{number}.0.0/24"

    def _free(self, number: int, v6: bool) -> bool:
        return f"rec-local/{self._chosen(number, v6)}" not in self.pools

    def ipam_releasepool(self, body: Any) -> Any:
        self._pool(body)
        del self.pools[body["PoolID"]]
        return {}

    def ipam_requestaddress(self, body: Any) -> Any:
        found = self._pool(body)
        pool = ipaddress.ip_network(found["pool"])
        if body["Address"]:
            if body["Address"] in found["taken"]:
                raise Refusal(f"{body['Address']} is taken")
            address = body["Address"]
        else:
            hosts = ipaddress.ip_network(found["part"]).hosts()
            address = next((str(host) for host in hosts if str(host) not in found["taken"]), "")
            if not address:
                raise Refusal("no address is left")
        found["taken"].append(address)
        return {"Address": f"{address}/{pool.prefixlen}", "Data": {}}

    def ipam_releaseaddress(self, body: Any) -> Any:
        found = self._pool(body)
        if body["Address"] not in found["taken"]:
            raise Refusal(f"{body['Address']} is not taken")
        found["taken"].remove(body["Address"])
        return {}

    def _pool(self, body: Any) -> Any:
        found = self.pools.get(body["PoolID"])
        if found is None:
            raise Refusal(f"pool {body['PoolID']} not found")
        return found


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise Refusal(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        call = self.path[1:]
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(content) if content else None
        script = json.loads((FOLDER / "script.json").read_text()) if (FOLDER / "script.json").exists() else {}
        told = script.get(call, {})
        time.sleep(told.get("late", 0))
        with LOCK:
            with (FOLDER / "requests").open("a") as log:
                log.write(json.dumps([call, body, dict(self.headers)]) + "\n")
            if told.get("die") == "before":
                os._exit(1)
            if "hang" in told:
                time.sleep(told["hang"])
            if "error" in told:
                self._send(500, json.dumps({"Err": told["error"]}))
                return
            if "status" in told:
                self._send(told["status"], "404 page not found\n")
                return
            try:
                answer = PLUGIN.answer(call, body)
            except Refusal as error:
                self._send(500, json.dumps({"Err": str(error)}))
                return
            if script.get("keep"):
                PLUGIN.keep()
        if told.get("die") == "after":
            os._exit(1)
        self._send(200, told["raw"] if "raw" in told else json.dumps({**answer, **told.get("merge", {})}))

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True


class UnixServer(Server):
    address_family = socket.AF_UNIX


PLUGIN = Plugin()

if __name__ == "__main__":
    where = sys.argv[2]
    if where.startswith("/"):
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        Path(where).unlink(missing_ok=True)
        server: Server = UnixServer(where, Handler)  # type: ignore[arg-type]
    else:
        host, _, port = where.rpartition(":")
        server = Server((host, int(port)), Handler)
    if len(sys.argv) > 3:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()
