#!/bin/sh
# net.bridge.bridge-nf-call-iptables=0 does not turn br_netfilter off for a bridge with the attribute nf_call_iptables.
#
# kube-proxy redirects connections, and the answers must pass connection tracking. Between ports of one bridge they do so
# only with br_netfilter, and guides of Kubernetes set the sysctl to 1 for that. ip-link(8) says of the bridge's own
# attribute that it enables or disables the hooks for this bridge. The kernel takes either of the two switches
# (br_nf_pre_routing in net/bridge/br_netfilter_hooks.c). So one bridge can have the hooks while the sysctl stays 0, and
# the attribute 0 disables nothing while the sysctl is 1. The sysctl belongs to the network namespace, and is 1 in each
# new one.
#
# Needs root, iproute2, nftables, Python, and a kernel with br_netfilter. Everything happens in network namespaces of its
# own. Seen with Linux 6.18. The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/bridge-netfilter-attribute.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net --mount --propagation private -- sh "$0" inside
fi
mkdir -p /run/netns
mount -t tmpfs none /run/netns
uname -sr
failed=0
see() { # WHAT FOUND EXPECTED
    echo "$1: $2"
    [ "$2" = "$3" ] || failed=1
}

key=net.bridge.bridge-nf-call-iptables
sysctl -n $key >/dev/null 2>&1 || { echo "this kernel has no br_netfilter, or it is not loaded" >&2; exit 1; }
see "$key in a new namespace" "$(sysctl -n $key)" 1

# client ═══ br0 ═══ server: 10.96.0.1 is a Service whose one pod is the server
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
ip addr add 10.0.0.1/24 dev br0
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.br0.send_redirects=0
number=1
for name in client server; do
    number=$((number + 1))
    ip netns add $name
    ip link add $name type veth peer name eth0 netns $name
    ip link set $name master br0 up
    ip -n $name addr add 10.0.0.$number/24 dev eth0
    ip -n $name link set eth0 up
    ip -n $name route add default via 10.0.0.1
done
nft -f - <<'RULES'
table ip service {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        ip daddr 10.96.0.1 dnat to 10.0.0.3
    }
}
RULES
ip netns exec server python3 -Ic '
import socket
with socket.create_server(("10.0.0.3", 80)) as server:
    while True:
        server.accept()[0].close()
' &
server=$!
trap 'kill $server' EXIT

asked() {
    ip netns exec client python3 -Ic '
import socket, sys
for _ in range(3):  # the server may not listen yet
    try:
        socket.create_connection(("10.96.0.1", 80), 1).close()
        sys.exit(print("answer"))
    except OSError:
        pass
print("no answer")
'
}
for pair in "0 0 no_answer" "0 1 answer" "1 0 answer" "1 1 answer"; do
    set -- $pair
    sysctl -qw $key=$1
    ip link set br0 type bridge nf_call_iptables $2
    see "sysctl $1, attribute of the bridge $2: the Service gives" "$(asked | tr ' ' _)" "$3"
done
exit $failed
