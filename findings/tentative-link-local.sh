#!/bin/sh
# A link that has just come up finds no IPv6 neighbour for up to two seconds, even with an address without detection.
#
# `nodad` makes an address usable at once for packets of its own. But what a router forwards has another source, and then
# Linux sends its neighbour solicitation from the link-local address. While that is tentative, none is sent
# (ndisc_solicit and ndisc_send_ns in net/ipv6/ndisc.c). Duplicate address detection of it takes 1 to 2 s. So the first
# connection through a router whose links are new waits for TCP to send again, after 1 s and then after 2 s more.
# `accept_dad` 0 on the link, before it is set up, is the remedy.
#
# Needs root, iproute2 and Python. Everything happens in network namespaces of its own. Seen with Linux 6.18. The script
# prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/tentative-link-local.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net --mount --propagation private -- sh "$0" inside
fi
mkdir -p /run/netns
mount -t tmpfs none /run/netns
uname -sr
failed=0

# sender ═══ router ═══ receiver
first() { # ACCEPT_DAD: milliseconds that the first connection takes, after the links have come up; is detection over
    for name in sender router receiver; do
        ip netns add $name
        ip netns exec $name sysctl -qw net.ipv6.conf.default.accept_dad="$1"
    done
    ip netns exec router sysctl -qw net.ipv6.conf.all.forwarding=1
    ip -n sender link add eth0 type veth peer name left netns router
    ip -n receiver link add eth0 type veth peer name right netns router
    ip -n sender addr add fd01::2/64 dev eth0 nodad
    ip -n router addr add fd01::1/64 dev left nodad
    ip -n router addr add fd02::1/64 dev right nodad
    ip -n receiver addr add fd02::2/64 dev eth0 nodad
    for link in "sender eth0" "router left" "router right" "receiver eth0"; do
        ip -n ${link% *} link set ${link#* } up
    done
    for link in "sender eth0" "router left" "router right" "receiver eth0"; do # their own first packet needs that, too
        until ip -n ${link% *} link show ${link#* } | grep -q 'state UP'; do sleep 0.1; done
    done
    ip -n sender route add default via fd01::1
    ip -n receiver route add default via fd02::1
    ip netns exec sender python3 -Ic '
import socket, time
begin = time.monotonic()
with socket.socket(socket.AF_INET6) as connection:
    connection.settimeout(10)
    connection.connect_ex(("fd02::2", 9))
print(int(1000 * (time.monotonic() - begin)))'
    late=yes # a slow machine: the detection was over before the connection
    ip -n router -6 -o addr show dev right scope link tentative | grep -q . && late=no
    echo $late
    for name in sender router receiver; do ip netns del $name; done
}
for dad in 1 0; do
    for _ in 1 2 3 4 5; do
        set -- $(first $dad)
        took=$1
        [ $dad = 1 ] && [ "$took" -lt 500 ] && [ "$2" = yes ] || break
    done
    echo "accept_dad $dad: the first connection took $took ms"
    if [ $dad = 1 ]; then [ "$took" -ge 500 ] || failed=1; else [ "$took" -lt 500 ] || failed=1; fi
done

[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
