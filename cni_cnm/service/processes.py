"""The processes of the service: what each does, what it may do, and in which order they stop.

supervisor   sockets, starts, restarts          all that the service has
worker-N     requests of relays                 the engine's capabilities
docker       Docker's socket, if requested      the engine's, and CAP_NET_BIND_SERVICE
watch        keeps the host as the records say  the engine's; not of a service that lingers
names        the name servers of networks   what starting them as another user needs; not of a service that lingers
metrics      answers scrapes                    CAP_NET_ADMIN, CAP_DAC_OVERRIDE; not with the setting metrics = "off"
cluster      the agent of a cluster's host      CAP_NET_ADMIN, CAP_DAC_OVERRIDE; if the settings have [cluster]
exchange     names of overlay networks      CAP_DAC_OVERRIDE, CAP_CHOWN; if the settings have an etcd
deleter      deletes links for the others       CAP_NET_ADMIN
"""

from __future__ import annotations

import gc
import os
import select
import socket
from functools import partial
from importlib import import_module

from cni_cnm.kernel import malloc_arenas, privileges
from cni_cnm.kernel.nftables import libnftables
from cni_cnm.kernel.setns import own_fd
from cni_cnm.service import lingering, reconcile_watch
from cni_cnm.service.counters import Counters
from cni_cnm.service.deletions import Deletions
from cni_cnm.service.handler import Handler
from cni_cnm.service.link_deleter import LinkDeleter
from cni_cnm.service.request_counts import RESTART, RequestCounts
from cni_cnm.service.server import Server
from cni_cnm.service.shared_page import SharedPage
from cni_cnm.service.supervisor import Role

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.service.activation import Listener

WORKERS_MAX = 4
"""The kernel changes links of a host one after the other: more workers would only wait for each other."""
WARM = (
    "cni_cnm.cni.names.bridge",
    "cni_cnm.cni.names.firewall",
    "cni_cnm.cni.names.host_local",
    "cni_cnm.cni.names.loopback",
    "cni_cnm.cni.names.portmap",
    "cni_cnm.cni.names.tuning",
    "cni_cnm.cni.result",
    "cni_cnm.cni.shared_part",
    "cni_cnm.cni.unused_keys",
    "cni_cnm.cni.verbs",
    "cni_cnm.cnm.endpoint.interface_tuning",
    "cni_cnm.cnm.endpoint.shared_ports",
    "cni_cnm.cnm.network.ensure_network",
    "cni_cnm.cnm.packet_filter.firewall_reconcile",
    "cni_cnm.cnm.packet_filter.port_listeners",
    "cni_cnm.cnm.requests.attach",
    "cni_cnm.cnm.requests.check",
    "cni_cnm.cnm.requests.collect",
    "cni_cnm.cnm.requests.detach",
    "cni_cnm.cnm.requests.extend",
    "cni_cnm.cnm.requests.lease",
    "cni_cnm.cnm.requests.status",
    "cni_cnm.drivers.bridge",
    "cni_cnm.kernel.conntrack",
    "cni_cnm.kernel.foreign_firewalls",
    "cni_cnm.kernel.nftables.nft_changes",
    "cni_cnm.kernel.nftables.nft_elements",
    "cni_cnm.kernel.nftables.nft_listing",
    "cni_cnm.kernel.nftables.nft_owners",
    "cni_cnm.kernel.nftables.nft_rules",
    "cni_cnm.kernel.rtnetlink.bridge_ports",
    "cni_cnm.kernel.rtnetlink.traffic_control",
    "cni_cnm.kernel.sock_diag",
)
"""Modules that requests import when they need them. Here they are imported once, for all processes."""
_COUNTING = ("supervisor", "docker", "watch")
"""Processes that count beside the workers; each has the part of the counters with this number."""


class Processes:
    """Made in the supervisor, before anything is forked."""

    def __init__(
        self, pods: Listener, docker: Listener | None, *, workers: int = 0, trace: bool = False, lingers: bool = False,
        cluster: bool = False, exchanges_names: bool = False, metrics: Listener | None = None,
        metrics_address: str = "",
    ) -> None:  # fmt: skip
        self._pods = pods
        self._docker = docker
        self._workers = workers or default_workers()
        self._trace = trace
        self._lingers = lingers
        self._cluster = cluster
        self._exchanges_names = exchanges_names
        self._metrics = metrics
        self._metrics_address = metrics_address
        self.page = SharedPage()
        self._to_deleter, self._from_others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.counters = None if metrics is None else Counters(self._workers + len(_COUNTING))
        self._handler = Handler(Deletions(self._to_deleter), self.page, trace=trace, lingers=lingers)

    def roles(self) -> Sequence[Role]:
        roles = [Role(f"worker-{number}", partial(self._work, number)) for number in range(self._workers)]
        if self._docker is not None:
            roles.append(Role("docker", self._answer_docker, privileges.DOCKER))
        if not self._lingers:
            roles.append(Role("watch", self._watch, ended=self._stopped_watching))
            roles.append(Role("names", self._keep_name_servers, privileges.NAMES))
        if self._cluster:
            roles.append(Role("cluster", self._run_agent, privileges.AGENT, executes=False))
        if self._exchanges_names:
            roles.append(Role("exchange", self._exchange_names, privileges.EXCHANGE, executes=False))
        if self._metrics is not None:
            roles.append(Role("metrics", self._show_metrics, privileges.AGENT, executes=False))
        roles.append(Role("deleter", self._reap, privileges.LINKS, executes=False, stage=1))
        return roles

    def restarted(self, name: str) -> None:
        """Called by the supervisor when it starts a process again."""
        if self.counters is not None:
            self.counters.part(_COUNTING.index("supervisor")).add(RESTART, name)

    def prepare(self) -> None:
        """Import what the children need, and keep it out of their garbage collections."""
        for module in WARM:
            import_module(module)
        if self._docker is not None:
            import_module("cni_cnm.docker_server.server")
        if not self._lingers:
            import_module("cni_cnm.service.name_servers")
        if self._cluster:
            import_module("cni_cnm.service.cluster_agent")
        libnftables.preload()
        malloc_arenas.limit(1)
        reconcile_watch.take_name()
        gc.collect()
        gc.freeze()

    def _work(self, number: int, stop: int) -> None:
        self._close_listeners(but=self._pods)
        self._count(len(_COUNTING) + number)
        server = Server(self._pods.socket, self._handler, trace=self._trace)
        if self._lingers:
            server.other_version = lingering.end
        server.serve(stop)

    def _answer_docker(self, stop: int) -> None:
        from cni_cnm.docker_server.server import Server as DockerServer

        assert self._docker is not None
        self._close_listeners(but=self._docker)
        self._count(_COUNTING.index("docker"))
        server = DockerServer(self._docker.socket, self._handler.engine, self._handler.note)
        server.start()
        select.select([stop], [], [])
        server.stop()

    def _watch(self, stop: int) -> None:
        self._close_listeners()
        self._count(_COUNTING.index("watch"))

        def seen(watching: bool) -> None:
            self.page.watching = watching

        reconcile_watch.run(self._handler.engine, self._handler.note, seen, stop)

    def _keep_name_servers(self, stop: int) -> None:
        from cni_cnm.service import name_servers

        self._close_listeners()
        name_servers.run(self._handler.engine, self._handler.note, stop)

    def _run_agent(self, stop: int) -> None:
        from cni_cnm.service import cluster_agent

        self._close_listeners()
        cluster_agent.run(self._handler.engine, self._handler.note, stop)

    def _exchange_names(self, stop: int) -> None:
        from cni_cnm.service import name_exchange

        self._close_listeners()
        name_exchange.run(self._handler.engine, stop)

    def _show_metrics(self, stop: int) -> None:
        assert self._metrics is not None
        assert self.counters is not None
        self._close_listeners(but=self._metrics)
        if not self._metrics_address:
            # Until the first scrape the HTTP server's modules are not loaded: they take 7 MiB.
            ready, _, _ = select.select([stop, self._metrics.socket.fileno()], [], [])
            if stop in ready:
                return
        from cni_cnm.service import metrics_server

        metrics_server.run(self._handler.engine, self.counters, self._metrics.socket, self._metrics_address, stop)

    def _count(self, part: int) -> None:
        """This process counts what it does in that part."""
        if self.counters is not None:
            self._handler.counts = RequestCounts(self.counters.part(part))

    def _stopped_watching(self) -> None:
        self.page.watching = False

    def _reap(self, stop: int) -> None:
        self._close_listeners()
        LinkDeleter(own_fd(), self._from_others).serve(stop)

    def _close_listeners(self, but: Listener | None = None) -> None:
        """A connection to a socket that nothing accepts from would wait until the last process that has it ends."""
        for one in (self._pods, self._docker, self._metrics):
            if one is not None and one is not but:
                one.socket.close()


def default_workers() -> int:
    """One a processor that this process may use, at most `WORKERS_MAX`."""
    return max(1, min(len(os.sched_getaffinity(0)), WORKERS_MAX))
