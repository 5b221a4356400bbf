#!/bin/sh
# Hairpin on a bridge port cuts off a container that has a bridge of its own behind that port.
#
# `bridge link set dev PORT hairpin on` is meant for one packet that goes back to its sender, such as a connection to an
# own published port. But a bridge sends every broadcast to every port (br_flood in net/bridge/br_forward.c), and with
# hairpin also to the one that it came by. A bridge inside the container then sees the ARP request of its own member
# come in from outside, and learns the member's MAC address on the wrong port. The answer comes in by that port, so it
# is dropped: neither IPv4 nor IPv6 works. `bcast_flood off` and `mcast_flood off` are no remedy: the port then gets no
# broadcast of its neighbours either, so they find no address behind it. `learning off` on the inner bridge's port is one.
#
# Needs root, iproute2 and Python. Everything happens in network namespaces of its own. Seen with Linux 6.18. The script
# prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/hairpin-cuts-off-a-bridge.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net --mount --propagation private -- sh "$0" inside
fi
mkdir -p /run/netns
mount -t tmpfs none /run/netns
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
uname -sr
failed=0
reached() { # ADDRESS [FROM]: a refused connection is an answer
    ip netns exec "${2:-member}" python3 -Ic '
import errno, socket, sys
address = sys.argv[1]
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as connection:
    connection.settimeout(3)
    try:
        code = connection.connect_ex((address, 9))
    except TimeoutError:
        code = errno.ETIMEDOUT
print("reached" if code == errno.ECONNREFUSED else "not reached")
' "$1"
}
see() { # WHAT EXPECTED
    for address in 10.0.0.1 fd00::1; do
        found=$(reached $address)
        echo "$1: $address is $found"
        [ "$found" = "$2" ] || failed=1
    done
}

# br0 ── port ═══ eth0 ── inner0 ── tap0 ═══ eth0
# host            container                  member
ip link add br0 type bridge
ip link set br0 up
ip addr add 10.0.0.1/24 dev br0
ip addr add fd00::1/64 dev br0 nodad
for name in container member neighbour; do
    ip netns add $name
    ip netns exec $name sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
done
ip link add port type veth peer name eth0 netns container
ip link set port master br0 up
ip -n container link add inner0 type bridge
ip -n container link add tap0 type veth peer name eth0 netns member
ip -n container link set eth0 master inner0
ip -n container link set tap0 master inner0
for name in eth0 tap0 inner0; do ip -n container link set $name up; done
ip -n member link set eth0 up
ip -n member addr add 10.0.0.2/24 dev eth0
ip -n member addr add fd00::2/64 dev eth0 nodad
ip link add other type veth peer name eth0 netns neighbour
ip link set other master br0 up
ip -n neighbour link set eth0 up
ip -n neighbour addr add 10.0.0.3/24 dev eth0
sleep 2 # until all ports forward

forget() { for side in "" "-n member"; do ip $side neigh flush all; done; }
see "without hairpin" reached
bridge link set dev port hairpin on
forget
see "with hairpin" "not reached"
bridge link set dev port bcast_flood off mcast_flood off
forget
see "with hairpin, no flooding to the port" reached
found=$(reached 10.0.0.2 neighbour)
echo "then from a neighbour: 10.0.0.2 is $found"
[ "$found" = "not reached" ] || failed=1
bridge link set dev port bcast_flood on mcast_flood on
bridge -n container link set dev eth0 learning off
bridge -n container fdb flush dev eth0 2>/dev/null || true
sleep 1
forget
see "with hairpin, the inner bridge does not learn from eth0" reached

[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
