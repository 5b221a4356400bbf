"""A real kube-apiserver over a real etcd 3.6, on loopback or in a network namespace.

server = ApiServer(folder)                    on 127.0.0.1; ready when the constructor returns
server.api                                    a client with all rights (api_client.py)
server.kubeconfig(user)                       a file with the static token of one of USERS, or of a node
server.stop() · start()                       its data stays
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.cluster.certificates import Authority
from tests.cluster.etcd_server import free_port
from tests.kernel.lab import Namespace
from tests.kubernetes.real.api_client import ApiClient
from tests.kubernetes.real.programs import programs
from tests.waiting import until

USERS = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "system:kube-proxy": "",
}
"""Users with a static token, and their group. kube-apiserver gives those named `system:` their rights at its start."""
SERVICES = "10.96.0.0/16,fd00:96::/112"
SERVICE_ADDRESSES = ("10.96.0.1", "fd00:96::1")
"""Of the API server's own Service."""


class ApiServer:
    """`place`: the namespace it runs in, with `address` of a link there; none: the test's own, on loopback."""

    def __init__(
        self,
        folder: Path,
        *,
        place: Namespace | None = None,
        address: str = "127.0.0.1",
        nodes: tuple[str, ...] = (),
        services: str = SERVICES,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.address = address
        self._place = place
        self.port = free_port() if place is None else 6443
        self.url = f"https://[{address}]:{self.port}" if ":" in address else f"https://{address}:{self.port}"
        self._services = services
        self._users = USERS | {f"system:node:{node}": "system:nodes" for node in nodes}
        self.authority = Authority(folder / "ca")
        names = ",".join(f"IP:{each}" for each in {address, "127.0.0.1", *SERVICE_ADDRESSES})
        self.certificate = self.authority.issue("server", names)
        self.account_key = folder / "accounts.pem"
        self._make_account_key()
        (folder / "tokens.csv").write_text(
            "".join(f'{_token(user)},{user},{user},"{group}"\n' for user, group in self._users.items())
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        self.api = ApiClient(address, self.port, str(self.authority.file), _token("admin"), self._connect)
        self._etcd_port = free_port() if place is None else 2379
        self.start()

    def _make_account_key(self) -> None:
        done = subprocess.run(
            ["openssl", "genrsa", "-out", self.account_key, "2048"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def _connect(self) -> socket.socket:
        def connected() -> socket.socket:
            return socket.create_connection((self.address, self.port), 30)

        return connected() if self._place is None else self._place.call(connected)

    # its life ------------------------------------------------------------------

    def start(self) -> None:
        etcd = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{free_port() if self._place is None else 2380}"
        self._run(
            "etcd", "--name", "one", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync",
            "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}",
        )  # fmt: skip
        cert, key = self.certificate
        advertise = (
            ["--advertise-address", "192.0.2.1", "--endpoint-reconciler-type", "none"]
            if self._place is None
            else ["--advertise-address", self.address]
        )
        self._run(
            "kube-apiserver", "--etcd-servers", etcd, "--secure-port", self.port, "--bind-address", self.address,
            *advertise, "--tls-cert-file", cert, "--tls-private-key-file", key, "--cert-dir", self.folder,
            "--token-auth-file", self.folder / "tokens.csv", "--authorization-mode", "Node,RBAC",
            "--service-cluster-ip-range", self._services, "--allow-privileged",
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", self.account_key, "--service-account-signing-key-file", self.account_key,
        )  # fmt: skip
        until(self.api.ready, "kube-apiserver is ready", 180, self.log)

    def start_controllers(self, *, cluster_cidrs: str) -> None:
        """kube-controller-manager, which gives nodes their podCIDRs, and kube-scheduler."""
        self._run(
            "kube-controller-manager", "--kubeconfig", self.kubeconfig("system:kube-controller-manager"),
            "--leader-elect=false", "--use-service-account-credentials", "--allocate-node-cidrs",
            "--cluster-cidr", cluster_cidrs, "--service-cluster-ip-range", self._services,
            "--service-account-private-key-file", self.account_key,
            "--root-ca-file", self.authority.file, "--cert-dir", self.folder,
            "--controllers", "*,-bootstrap-signer-controller,-token-cleaner-controller,-ttl-controller",
        )  # fmt: skip
        self._run(
            "kube-scheduler", "--kubeconfig", self.kubeconfig("system:kube-scheduler"), "--leader-elect=false",
            "--cert-dir", self.folder,
        )  # fmt: skip

    def _run(self, name: str, *arguments: object) -> None:
        inside = [] if self._place is None else ["nsenter", f"--net={self._place.path}"]
        argv = [*inside, programs().path(name), *map(str, arguments)]
        environ = programs().environ | {"HOME": "/nonexistent"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
            )

    def log(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in self.folder.glob("*.log")
        )

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._processes.clear()

    # who uses it ----------------------------------------------------------------

    def kubeconfig(self, user: str, *, token: str = "") -> Path:
        """The file of a user with a static token, or of another one whose token is given."""
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        self.write_kubeconfig(path, token or _token(user))
        return path

    def write_kubeconfig(self, path: Path, token: str) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [
                {"name": "lab", "cluster": {"server": self.url, "certificate-authority": str(self.authority.file)}}
            ],
            "users": [{"name": "lab", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        }
        path.write_text(json.dumps(config))  # JSON is YAML
        path.chmod(0o600)

    def account_token(self, account: str, namespace: str = "default") -> str:
        """A token of a service account, which is made if absent."""
        base = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        if not self.api.there(f"{base}/{account}"):
            self.api.create(base, {"metadata": {"name": account}})
        made = self.api.create(f"{base}/{account}/token", {"spec": {"expirationSeconds": 3600}})
        return str(made["status"]["token"])

    def kubectl(self, *argv: str, stdin: str = "") -> str:
        """`kubectl argv…` with all rights; AssertionError with what it wrote if it fails."""
        inside = [] if self._place is None else ["nsenter", f"--net={self._place.path}"]
        done = subprocess.run(
            [*inside, programs().path("kubectl"), "--kubeconfig", self.kubeconfig("admin"), *argv],
            input=stdin, capture_output=True, text=True, check=False, timeout=120,
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _token(user: str) -> str:
    return f"token-of-{user.replace(':', '-')}"
