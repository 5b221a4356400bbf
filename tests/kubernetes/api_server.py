"""A stand-in for the API server, over HTTP or HTTPS: it serves Nodes (tests/kubernetes/api_model.py), and faults.

In a test:

    with ApiServer(cluster_cidrs=("10.244.0.0/16",)) as api:
        api.do(lambda model: model.add("node1", "192.0.2.11"))
        settings = ClusterSettings("kubernetes", kubeconfig=api.kubeconfig(tmp_path / "kubeconfig"))
        api.fault = lambda request: …       None: none. A Fault: see there
        api.say(b"…")                       all watches get these bytes
        api.cut_watches()                   their connections end
        api.end_watches()                   they end as when their time is over
        api.silent = True                   they say nothing any more, and stay open
        api.tokens = {"t2": AGENT}          others get 401

By itself, for labs and the demo:

    python -m tests.kubernetes.api_server --port 6443 --cidr 10.244.0.0/16 --kubeconfig FILE [--admin-kubeconfig FILE]

The admin makes, changes and deletes Nodes with POST /api/v1/nodes, PATCH /api/v1/nodes/NAME (merge patch) and
DELETE /api/v1/nodes/NAME; such a Node needs a name and addresses only.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.kubernetes.api_model import ApiModel, Refused

NODES = "/api/v1/nodes"
EVENTS = "/api/v1/namespaces/default/events"
AGENT = frozenset({"get nodes", "list nodes", "watch nodes", "patch nodes/status", "create events", "patch events"})
"""The rights of cni-cnm's service account."""
ADMIN = frozenset({*AGENT, "create nodes", "patch nodes", "delete nodes"})
BOOKMARK_S = 60.0


@dataclass
class Request:
    """`what` is the verb and the resource, such as `list nodes`."""

    what: str
    name: str
    query: dict[str, str]
    body: Any
    token: str
    at: float = field(default_factory=monotonic)


@dataclass
class Fault:
    """What happens instead of an answer, or after it.

    kind    "before"  the connection ends, and nothing is done
            "after"   it is done, and then the connection ends
            "hang"    nothing is answered
            "answer"  `status`, `headers` and `body` are answered, and nothing is done
    """

    kind: str
    status: int = 500
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def status_fault(status: int, reason: str, message: str, **headers: str) -> Fault:
    """An answer as the API server gives it."""
    body = json.dumps(Refused(status, reason, message).body).encode()
    return Fault("answer", status, body, {key.replace("_", "-"): value for key, value in headers.items()})


class ApiServer:
    def __init__(
        self,
        *,
        cluster_cidrs: Sequence[str] = (),
        model: ApiModel | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[str, str, str] | None = None,
    ) -> None:
        """`tls`: the paths of the CA, of the server's certificate and of its key."""
        self.model = model or ApiModel(tuple(cluster_cidrs))
        self.changed = threading.Condition()
        """Held while the model is used."""
        self.tokens: dict[str, frozenset[str]] = {"agent": AGENT, "admin": ADMIN}
        self.fault: Callable[[Request], Fault | None] = lambda _request: None
        self.events: dict[str, Any] = {}
        """Of Kubernetes, by name."""
        self.silent = False
        self.bookmark_s = BOOKMARK_S
        self.requests: list[Request] = []
        self.bytes = 0
        self._ca = tls[0] if tls else ""
        self._watching: dict[socket.socket, str] = {}
        """What is to become of a watch: "", "cut" or "end"."""
        self._said: list[bytes] = []
        api = self

        class Handler(_Handler):
            owner = api

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            daemon_threads = True
            request_queue_size = 1024

        self._server = Server((address, port), Handler)
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls[1], tls[2])
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        host = f"[{address}]" if ":" in address else address
        self.url = f"http{'s' if tls else ''}://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.cut_watches()
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, path: Path | str, token: str = "agent") -> str:
        """Written with this token. Gives the path."""
        cluster = {"server": self.url, **({"certificate-authority": self._ca} if self._ca else {})}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
        }
        Path(path).write_text(json.dumps(content))
        Path(path).chmod(0o600)
        return str(path)

    def do(self, change: Callable[[ApiModel], object]) -> None:
        """Change the model; watches report it."""
        with self.changed:
            change(self.model)
            self.changed.notify_all()

    def say(self, data: bytes) -> None:
        with self.changed:
            self._said.append(data)
            self.changed.notify_all()

    def send_bookmark(self) -> None:
        self.say(json.dumps(self.model.bookmark()).encode() + b"\n")

    def cut_watches(self) -> None:
        self._end("cut")

    def end_watches(self) -> None:
        self._end("end")

    def _end(self, how: str) -> None:
        with self.changed:
            for sock in self._watching:
                self._watching[sock] = how
            self.changed.notify_all()

    def watches(self) -> int:
        with self.changed:
            return sum(not how for how in self._watching.values())

    def asked(self, what: str) -> list[Request]:
        """The requests of this kind so far."""
        with self.changed:
            return [each for each in self.requests if each.what == what]

    def answer(self, request: Request) -> Any:
        """What the model answers. Refused for an error."""
        model, what = self.model, request.what
        if what == "list nodes":
            return model.list_nodes(request.query)
        if what == "get nodes":
            return model.get(request.name)
        if what == "patch nodes/status":
            return model.patch_status(request.name, request.body)
        if what == "patch nodes":
            model.get(request.name)
            return model.change(request.name, request.body)
        if what == "delete nodes":
            model.get(request.name)
            model.remove(request.name)
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        if what == "create nodes":
            return self._create(request.body)
        if what == "create events":
            return self.events.setdefault(request.body["metadata"]["name"], request.body)
        if what == "patch events":
            if request.name not in self.events:
                raise Refused(404, "NotFound", f'events "{request.name}" not found')
            self.events[request.name].update(request.body)
            return self.events[request.name]
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def _create(self, raw: Any) -> Any:
        name = raw["metadata"]["name"]
        if name in self.model.nodes:
            raise Refused(409, "AlreadyExists", f'nodes "{name}" already exists')
        given = raw.get("status", {}).get("addresses", [])
        addresses = [each["address"] for each in given if each["type"] == "InternalIP"]
        spec = raw.get("spec", {})
        cidrs = spec.get("podCIDRs") or ([spec["podCIDR"]] if "podCIDR" in spec else None)
        return self.model.add(name, *addresses, pod_cidrs=cidrs)


class _Handler(BaseHTTPRequestHandler):
    owner: ApiServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):  # the client has gone
            super().finish()

    def do_GET(self) -> None:
        self._serve("get")

    def do_PATCH(self) -> None:
        self._serve("patch")

    def do_POST(self) -> None:
        self._serve("create")

    def do_DELETE(self) -> None:
        self._serve("delete")

    def _serve(self, verb: str) -> None:
        owner = self.owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = self._request(verb, json.loads(body) if body else None)
        with owner.changed:
            owner.requests.append(request)
            fault = owner.fault(request)
        if fault is not None and self._fails(fault, request):
            return None
        try:
            self._require_allowed(request)
            if request.what == "watch nodes":
                return self._watch(request.query)
            with owner.changed:
                found = owner.answer(request)
                owner.changed.notify_all()
        except Refused as error:
            return self._answer(error.status, json.dumps(error.body).encode(), error.headers)
        if fault is not None:  # after
            self._cut()
            return None
        return self._answer(201 if verb == "create" else 200, json.dumps(found).encode(), {})

    def _request(self, verb: str, body: Any) -> Request:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        base = next((one for one in (NODES, EVENTS) if parts.path.startswith(one)), "")
        rest = parts.path.removeprefix(base).strip("/").split("/")
        name = rest[0] if base else ""
        resource = base.rpartition("/")[2] or parts.path
        if len(rest) > 1:
            resource += f"/{'/'.join(rest[1:])}"
        if verb == "get" and not name:
            verb = "watch" if query.get("watch") in ("1", "true") else "list"
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return Request(f"{verb} {resource}", name, query, body, token)

    def _require_allowed(self, request: Request) -> None:
        rights = self.owner.tokens.get(request.token)
        if rights is None:
            raise Refused(401, "Unauthorized", "Unauthorized")
        if request.what not in rights:
            verb, _, resource = request.what.partition(" ")
            user = "system:serviceaccount:cni-cnm:cni-cnm"
            raise Refused(
                403,
                "Forbidden",
                f'nodes is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "" at the '
                "cluster scope",
            )
        patch = self.headers.get("Content-Type") or ""
        if request.what.startswith("patch") and patch != "application/merge-patch+json":
            raise Refused(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {patch}")

    def _fails(self, fault: Fault, request: Request) -> bool:
        """True if nothing more is answered."""
        if fault.kind == "after" and request.what != "watch nodes":
            return False
        if fault.kind == "answer":
            self._answer(fault.status, fault.body, fault.headers)
        elif fault.kind == "hang":
            with suppress(OSError):
                self.connection.recv(1)
            self.close_connection = True
        else:
            self._cut()
        return True

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.owner.bytes += len(body)
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, query: dict[str, str]) -> None:
        owner, sock = self.owner, self.connection
        self.close_connection = True
        version = query.get("resourceVersion", "")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        with owner.changed:
            at = int(version or 0) or owner.model.version
            first = (
                [] if int(version or 0) else [{"type": "ADDED", "object": each} for each in owner.model.nodes.values()]
            )
            try:
                owner.model.require_known(at)
            except Refused as error:
                first = [{"type": "ERROR", "object": error.body}]
            owner._watching[sock] = "end" if first and first[0]["type"] == "ERROR" else ""
            said = len(owner._said)
        self._chunk(b"".join(map(_line, first)))
        began = marked = monotonic()
        lasts = float(query.get("timeoutSeconds") or 1800)
        how = ""
        try:
            while not how:
                with owner.changed:  # it is not held while something is sent: a client may read nothing
                    how = owner._watching[sock]
                    lines = owner._said[said:]
                    said += len(lines)
                    events = [] if owner.silent or how else owner.model.events(at)
                    if not lines and not events and not how:
                        now = monotonic()
                        if now - began >= lasts:
                            how = "end"
                        elif now - marked >= owner.bookmark_s and not owner.silent and "allowWatchBookmarks" in query:
                            marked = now
                            events = [owner.model.bookmark()]
                        else:
                            owner.changed.wait(max(0.0, min(marked + owner.bookmark_s, began + lasts) - now) + 0.01)
                    if events:
                        at = int(events[-1]["object"]["metadata"]["resourceVersion"])
                self._chunk(b"".join([*lines, *map(_line, events)]))
        finally:
            with owner.changed:
                del owner._watching[sock]
        if how == "cut":
            self._cut()
        else:
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        if data:
            self.owner.bytes += len(data)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()


def _line(event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes.api_server", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cidr", action="append", default=[], help="new Nodes get a block of it")
    parser.add_argument("--kubeconfig", required=True, help="is written, with the rights of cni-cnm")
    parser.add_argument("--admin-kubeconfig", default="", help="is written, with all rights")
    parser.add_argument("--tls", nargs=3, metavar=("CA", "CERT", "KEY"))
    given = parser.parse_args(arguments)
    tls = tuple(given.tls) if given.tls else None
    with ApiServer(cluster_cidrs=given.cidr, address=given.address, port=given.port, tls=tls) as api:
        if given.admin_kubeconfig:
            api.kubeconfig(given.admin_kubeconfig, "admin")
        api.kubeconfig(given.kubeconfig)
        print(api.url, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
