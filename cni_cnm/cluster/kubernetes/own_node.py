"""What is read and written of one Node: the block of this host, and its announcement."""

from __future__ import annotations

from random import random
from time import sleep

from cni_cnm.cluster.http.connection import NoAnswer
from cni_cnm.cluster.kubernetes import announcement, nodes
from cni_cnm.cluster.kubernetes.failure import Failure
from cni_cnm.cluster.kubernetes.listing import NODES
from cni_cnm.errors import Conflict, DecodeFailed, Forbidden, NotReady

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cluster.kubernetes.announcement import Terms
    from cni_cnm.cluster.kubernetes.client import Client
    from cni_cnm.cluster.values import ClusterHost
    from cni_cnm.model import IPNetwork, Json

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 1.0
_NOT_FOUND = 404


def read(client: Client, name: str) -> Json | None:
    """The Node as decoded, None if there is none."""
    try:
        return client.decoded(client.read(f"{NODES}/{name}"))
    except Failure as failure:
        if failure.status == _NOT_FOUND:
            return None
        raise client.explained(failure) from failure


def require(client: Client, name: str) -> Json:
    """NotReady if there is no such Node."""
    found = read(client, name)
    if found is None:
        raise NotReady(
            f"{client.name} has no Node {name}",
            hint="start the kubelet, which makes the Node; the key node in the settings must be the Node's name",
        )
    return found


def announce(client: Client, host: ClusterHost, terms: Terms) -> Json:
    """Write the annotation if it differs: with those of the host's addresses that the Node has. Gives the Node.

    Conflict if another instance has the name, NotReady if the Node is reached at none of this host's addresses.
    """
    for _ in _attempts(client):
        raw = require(client, host.name)
        meta = nodes.part(raw, "metadata")
        content = announcement.text(_believed(client, host, raw), terms)
        announcement.read(host.name, content)
        if nodes.part(meta, "annotations").get(announcement.ANNOTATION) == content:
            return raw
        try:
            _patch(client, host.name, str(meta.get("uid", "")), content)
        except NoAnswer:
            continue
        except Failure as failure:
            if failure.other_uid:  # the Node was made anew meanwhile
                continue
            raise client.explained(failure) from failure
        return raw
    raise AssertionError("attempts end with an error")


def leave(client: Client, name: str, instance: str, *, force: bool) -> None:
    """Remove the annotation. No error if absent; Forbidden if the Node shows life."""
    for _ in _attempts(client):
        raw = read(client, name)
        meta = nodes.part(raw, "metadata")
        if raw is None or announcement.ANNOTATION not in nodes.part(meta, "annotations"):
            return
        there = nodes.read(raw)
        mine = there.host is not None and there.host.instance == instance
        if there.alive and not mine and not force:
            raise Forbidden(
                f"the Node {name} shows life, so its pods may have addresses of its block",
                hint="remove the pods of cni-cnm from that Node first; --force removes its announcement nevertheless",
            )
        try:
            _patch(client, name, str(meta.get("uid", "")), None)
        except NoAnswer:
            continue
        except Failure as failure:
            if failure.other_uid or failure.status == _NOT_FOUND:
                continue
            raise client.explained(failure) from failure
        return


def block(client: Client, name: str, raw: Json) -> tuple[IPNetwork, ...]:
    """The Node's podCIDRs. NotReady if it has none, or none that can be used."""
    try:
        found = nodes.pod_subnets(name, nodes.part(raw, "spec"))
    except DecodeFailed as error:
        raise NotReady(error.msg) from error
    if not found:
        raise NotReady(
            f"{client.name} has given no podCIDR to Node {name}",
            hint="kube-controller-manager gives them: `kube-controller-manager --allocate-node-cidrs=true "
            "--cluster-cidr=10.244.0.0/16`; or `kubeadm init --pod-network-cidr=10.244.0.0/16`",
        )
    return found


def _believed(client: Client, host: ClusterHost, raw: Json) -> ClusterHost:
    """The host with those of its addresses that the Node has, too: others believe no other one.

    Which machine has the name is told by the addresses that the kubelet reports.
    """
    there = nodes.addresses(nodes.part(raw, "status"))
    mine = there.intersection(host.addresses)
    try:
        said = nodes.announced(host.name, nodes.part(raw, "metadata"))
    except DecodeFailed:
        said = None
    other = frozenset(said.host.addresses) if said is not None else mine
    if said is not None and said.host.instance != host.instance and other != mine and other <= there:
        raise Conflict(
            f"the name {host.name} belongs to another host in {client.name}: its instance is {said.host.instance}, "
            f"this host's is {host.instance}",
            hint="give this host another node name; if the other one is gone, delete its Node: "
            f"`kubectl delete node {host.name}`",
        )
    if not mine:
        shown = ", ".join(sorted(map(str, there))) or "no address"
        own = " and ".join(map(str, host.addresses))
        raise NotReady(
            f"this host's underlay address is {own}, and Node {host.name} has {shown} in {client.name}: other "
            "hosts would not believe it",
            hint="set the key address in the part [cluster] of the settings to the Node's address or its link, or "
            f"start the kubelet with this one: `kubelet --node-ip={host.addresses[0]}`",
        )
    return host._replace(addresses=tuple(address for address in host.addresses if address in mine))


def _patch(client: Client, name: str, uid: str, content: str | None) -> None:
    """`uid`: of the Node that was read. One that was made anew under its name is not changed."""
    known = {"uid": uid} if uid else {}
    client.patch(f"{NODES}/{name}/status", {"metadata": {**known, "annotations": {announcement.ANNOTATION: content}}})


def _attempts(client: Client) -> Iterator[int]:
    """As often as there is time, with growing pauses. DirectoryUnreachable when it is over."""
    pause, number = _FIRST_PAUSE_S, 0
    while True:
        yield number
        number += 1
        wait = pause * random()  # noqa: S311
        if client.time_left() <= wait:
            raise client.unreachable("what was sent has no known outcome")
        sleep(wait)
        pause = min(pause * 2, _LAST_PAUSE_S)
