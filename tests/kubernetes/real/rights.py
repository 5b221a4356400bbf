"""The rights of the agent in a real cluster, as conf/kubernetes/cni-cnm.yaml has them."""

from __future__ import annotations

from tests.kubernetes.manifests import objects
from tests.kubernetes.real.api_client import ApiClient

NAMESPACE, ACCOUNT = "cni-cnm", "cni-cnm"
_RIGHTS = "/apis/rbac.authorization.k8s.io/v1"


def create_rights(api: ApiClient) -> None:
    """Namespace, ClusterRole and its binding, unless they are there. ApiServer.account_token makes the account."""
    paths = {
        "Namespace": "namespaces",
        "ClusterRole": f"{_RIGHTS}/clusterroles",
        "ClusterRoleBinding": f"{_RIGHTS}/clusterrolebindings",
    }
    for made in objects("cni-cnm"):
        path = paths.get(made["kind"])
        if path and not api.there(f"{path}/{made['metadata']['name']}"):
            api.create(path, made)
