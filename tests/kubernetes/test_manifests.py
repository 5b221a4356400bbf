"""What conf/kubernetes and conf/kind say: valid for the API, of this version, with no more rights than are needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from cni_cnm import __version__, settings
from cni_cnm.cluster.kubernetes.node_events import NAMESPACE
from tests.kubernetes.manifests import Object, objects, of_kind
from tests.program import ROOT

NAMES = ("cni-cnm", "uninstall")
API_VERSIONS = ("1.27", "1.32", "1.37")
IMAGE = f"localhost/cni-cnm:{__version__}"


def containers(name: str) -> Iterator[Object]:
    spec = of_kind(name, "DaemonSet")["spec"]["template"]["spec"]
    yield from (*spec["initContainers"], *spec["containers"])


@pytest.mark.parametrize("version", API_VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_the_api_accepts_them(name: str, version: str) -> None:
    """By the API's own schema, without a field that it does not know."""
    found = objects(name)
    assert found
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", ["1.32", "1.37"])
def test_the_api_accepts_the_policy(version: str) -> None:
    """It needs the name of the node in a pod's token, which is there since 1.32 without a feature gate."""
    found = objects("own-node-only")
    assert [one["kind"] for one in found] == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_of_this_version(name: str) -> None:
    """The image is that of `scripts/package image`. No registry is asked where a node has it."""
    found = list(containers(name))
    assert {one["image"] for one in found} == {IMAGE}
    assert {one["imagePullPolicy"] for one in found} == {"IfNotPresent"}


def test_rights_at_the_api() -> None:
    """Reading Nodes, and the annotations of one's own; events, in one namespace. Removing cni-cnm needs none."""
    assert of_kind("cni-cnm", "ClusterRole")["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    role = of_kind("cni-cnm", "Role")
    assert role["metadata"]["namespace"] == NAMESPACE
    assert role["rules"] == [{"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}]
    kinds = {one["kind"] for one in objects("uninstall")}
    assert kinds == {"Namespace", "DaemonSet"}
    assert of_kind("uninstall", "DaemonSet")["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", NAMES)
def test_rights_at_the_kernel(name: str) -> None:
    """No container is privileged, all begin without capabilities, and none can write to its own file system."""
    spec = of_kind(name, "DaemonSet")["spec"]["template"]["spec"]
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    for one in containers(name):
        context = one["securityContext"]
        assert not context.get("privileged")
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"]["drop"] == ["ALL"]
        assert set(context["capabilities"].get("add", ())) <= {"NET_ADMIN", "NET_RAW", "SYS_ADMIN", "DAC_OVERRIDE"}


@pytest.mark.parametrize("name", NAMES)
def test_volumes(name: str) -> None:
    """Each is mounted at the path that it has on the node: settings and records name paths. All are used."""
    spec = of_kind(name, "DaemonSet")["spec"]["template"]["spec"]
    paths = {one["name"]: one.get("hostPath", {}).get("path", "") for one in spec["volumes"]}
    mounts = [mount for one in containers(name) for mount in one.get("volumeMounts", ())]
    assert {mount["name"] for mount in mounts} == set(paths)
    for mount in mounts:
        assert mount["mountPath"].removeprefix("/host") == paths[mount["name"]] or mount["name"] == "settings"
    for folder in ("/", "/run", "/proc", "/sys", "/etc", "/var", "/var/lib", "/dev"):
        assert folder not in paths.values()


def test_the_service_has_no_program_of_the_node() -> None:
    """Only the init container writes to /opt/cni: what runs as the service is the image's."""
    (service,) = of_kind("cni-cnm", "DaemonSet")["spec"]["template"]["spec"]["containers"]
    assert "opt-cni" not in {mount["name"] for mount in service["volumeMounts"]}


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_every_node_before_all_others(name: str) -> None:
    """Also on a node without a network, without memory for others, or one that is drained."""
    spec = of_kind(name, "DaemonSet")["spec"]["template"]["spec"]
    assert spec["hostNetwork"] is spec["hostPID"] is True
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["priorityClassName"] == "system-node-critical"


def test_settings(tmp_path: Path) -> None:
    """The ConfigMap's are settings of this version, also with the keys that are comments in it."""
    text = of_kind("cni-cnm", "ConfigMap")["data"]["config.toml"]
    for number, shown in enumerate((text, uncommented(text))):
        path = tmp_path / f"{number}.toml"
        path.write_text(shown, encoding="utf-8")
        found = settings.load(str(path))
        assert found.log == "stderr"
        assert found.cluster is not None
        assert found.cluster.store == "kubernetes"
    assert found.cluster is not None
    assert found.cluster.address == ("eth1",)


def uncommented(text: str) -> str:
    """With the keys that are shown as comments."""
    lines = [line.removeprefix("# ") if " = " in line and line.startswith("# ") else line for line in text.splitlines()]
    assert lines != text.splitlines()
    return "\n".join(lines)


def test_the_cluster_of_kind() -> None:
    """Several nodes of both IP versions, without kind's own network. Its comment names this version's image."""
    text = (ROOT / "conf/kind/cluster.yaml").read_text(encoding="utf-8")
    cluster: dict[str, Any] = yaml.safe_load(text)
    assert (cluster["kind"], cluster["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert cluster["networking"] == {"disableDefaultCNI": True, "ipFamily": "dual"}
    assert [node["role"] for node in cluster["nodes"]].count("control-plane") == 1
    assert len(cluster["nodes"]) >= 2
    assert f"dist/packages/cni-cnm-{__version__}.oci.tar" in text


def test_the_page_names_this_version() -> None:
    """The commands of docs/kubernetes.md are copied as they are."""
    page = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    assert f"the image `{IMAGE}`" in page
    assert page.count(f"dist/packages/cni-cnm-{__version__}.oci.tar") == 2
    for name in re.findall(r"conf/[a-z/-]+\.yaml", page):
        assert (ROOT / name).is_file(), name


def test_the_ranges_in_comments_are_kinds_own() -> None:
    """kind's default podSubnet, of which each node gets a part."""
    text = uncommented(of_kind("cni-cnm", "ConfigMap")["data"]["config.toml"])
    (line,) = (one for one in text.splitlines() if one.startswith("subnets = "))
    subnets = [str(ip_network(one)) for one in yaml.safe_load(line.partition(" = ")[2])]
    assert subnets == ["10.244.0.0/16", "fd00:10:244::/56"]
