"""conf/kubernetes/own-node-only.yaml in a real API server: what a token of cni-cnm on one node may change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubernetes.manifests import objects
from tests.kubernetes.real.api_client import ApiClient, ApiError
from tests.kubernetes.real.api_server import ApiServer
from tests.kubernetes.real.lab import require_programs
from tests.kubernetes.real.rights import create_rights
from tests.waiting import until

POLICIES = "/apis/admissionregistration.k8s.io/v1"
AS_POD = {
    "Impersonate-User": "system:serviceaccount:cni-cnm:cni-cnm",
    "Impersonate-Extra-authentication.kubernetes.io%2Fnode-name": "policy-own",
}
"""What the API server reads from a pod's token."""
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "4fd5a8b4-1111-4222-8333-444455556666"}


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """A client as a pod of cni-cnm on the Node policy-own, with the policy in force."""
    require_programs()
    server = ApiServer(tmp_path_factory.mktemp("policy"))
    api = server.api
    create_rights(api)
    policy, binding = objects("own-node-only")
    api.create(f"{POLICIES}/validatingadmissionpolicies", policy)
    api.create(f"{POLICIES}/validatingadmissionpolicybindings", binding)
    for name in ("policy-own", "policy-other"):
        api.create("nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
    api.headers = AS_POD

    def in_force() -> bool:
        try:
            api.patch("nodes/policy-other/status", {"metadata": {"annotations": {"cni-cnm/underlay": "{}"}}})
        except ApiError as error:
            return "may change its own Node only" in str(error)
        return False

    until(in_force, "the policy is in force", 60)
    yield api
    server.stop()


def test_its_own_annotation(pod: ApiClient) -> None:
    """Written, changed and removed."""
    for value in ("{}", '{"a": 1}', None):
        pod.patch("nodes/policy-own/status", {"metadata": {"annotations": {"cni-cnm/underlay": value}}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metadata": {"labels": {"x": "y"}}}, "may change an annotation only"),
        ({"metadata": {"finalizers": ["example.com/x"]}}, "may change an annotation only"),
        ({"metadata": {"ownerReferences": [OWNER]}}, "may change an annotation only"),
        ({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.9"}]}}, "may change an annotation only"),
        ({"metadata": {"annotations": {"x": "y"}}}, "may change the annotation cni-cnm/underlay only"),
    ],
    ids=["labels", "finalizers", "owners", "status", "another annotation"],
)
def test_nothing_else(pod: ApiClient, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ApiError, match=reason):
        pod.patch("nodes/policy-own/status", change)
