#!/bin/sh
# What the kernel announces when a container's interface comes up, its bridge drops.
#
# With arp_notify (and ndisc_notify) Linux announces an interface's addresses when it is set up. On a veth whose other
# end is the port of a bridge, that is too early: the port forwards only once the kernel has handled its carrier, in a
# work queue a moment later. The announcement is lost, and neighbours keep the MAC of the address's former holder.
#
# From Linux 6.8 on, a request for the port (RTM_GETLINK) handles the carrier at once. Setting the interface's MAC, also
# to the one it has, makes the kernel announce again (NETDEV_CHANGEADDR in net/ipv4/devinet.c and net/ipv6/ndisc.c).
#
# Needs root, iproute2 and Python. Everything happens in network namespaces of its own. Seen with Linux 6.18. The script
# prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/announcement-before-forwarding.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net --mount --propagation private -- sh "$0" inside
fi
mkdir -p /run/netns
mount -t tmpfs none /run/netns
uname -sr
ip link add br0 type bridge
ip link set br0 up
for name in listener pod; do
    ip netns add $name
    ip netns exec $name sysctl -qw net.ipv6.conf.default.accept_dad=0
    ip link add $name type veth peer name eth0 netns $name
    ip link set $name master br0 up
done
ip -n listener link set eth0 up
sleep 1.5 # until the listener's port forwards

exec python3 -I - <<'PYTHON'
import os, select, socket, subprocess, sys

def run(command):
    subprocess.run(command.split(), check=True)

listener = subprocess.Popen(
    ["ip", "netns", "exec", "listener", sys.executable, "-Iuc", """
import socket
ethernet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
ethernet.bind(("eth0", 0))
print("ready", flush=True)
while True:
    frame = ethernet.recv(2000)
    if frame[12:14] == b"\\x08\\x06" and frame[28:32] == frame[38:42]:
        print("ARP", flush=True)
    elif frame[12:14] == b"\\x86\\xdd" and frame[20] == 58 and frame[54] == 136 and frame[62:64] == b"\\xfd\\x00":
        print("NA", flush=True)
"""], stdout=subprocess.PIPE)
os.set_blocking(listener.stdout.fileno(), False)

def heard(seconds):
    found = b""
    while select.select([listener.stdout], [], [], seconds)[0]:
        found += listener.stdout.read() or b""
    return sorted(set(found.decode().split()) - {"ready"})

select.select([listener.stdout], [], [], 10)
heard(0.2)
for key in ("ipv4.conf.eth0.arp_notify", "ipv6.conf.eth0.ndisc_notify"):
    run(f"ip netns exec pod sysctl -qw net.{key}=1")
run("ip -n pod addr add 10.0.0.2/24 dev eth0")
run("ip -n pod addr add fd00::2/64 dev eth0 nodad")
run("ip -n pod link set eth0 up")
at_link_up = heard(0.5)
print("heard when the link came up:", *at_link_up or ["nothing"])

mac = subprocess.run(
    ["ip", "-n", "pod", "-o", "link", "show", "eth0"], capture_output=True, text=True, check=True
).stdout.split("link/ether ")[1].split()[0]
run(f"ip -n pod link set eth0 address {mac}")
again = heard(0.5)
print("heard when the MAC was set to the same:", *again or ["nothing"])
listener.kill()
if at_link_up or again != ["ARP", "NA"]:
    sys.exit("this has changed")
PYTHON
