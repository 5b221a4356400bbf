"""What a veth of ours has on the kernel, beside one that the kernel makes without being told."""

from __future__ import annotations

import json
import subprocess

from cni_cnm.kernel.stack import KernelStack


def test_one_queue_each_way(host: KernelStack) -> None:
    """Both ends have the queues that are in use of any veth, whatever number of processors the machine has."""
    host.add_veth("near", peer="far", peer_stack=host)
    for name in ("near", "far"):
        shown = subprocess.run(["ip", "-j", "-d", "link", "show", name], capture_output=True, check=True)
        (link,) = json.loads(shown.stdout)
        assert (link["num_tx_queues"], link["num_rx_queues"]) == (1, 1), name
