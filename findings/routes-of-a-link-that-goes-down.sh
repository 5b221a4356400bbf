#!/bin/sh
# A link that goes down takes its IPv4 routes along, and does not report it: `ip monitor route` shows those of IPv6 alone.
#
# The kernel flushes the IPv4 routes of a link without a notification (fib_sync_down_dev and fib_flush in
# net/ipv4/fib_frontend.c), while each IPv6 route is reported as deleted. Permanent neighbours of the link go, too, with a
# report. A VXLAN device's forwarding entries stay. When the link is up again, none of what went is back, but the routes
# of its own addresses: of a tunnel with entries for a thousand hosts only the forwarding entries are left.
#
# A program that keeps routes must watch the links, not only the routes.
#
# Needs root and iproute2. Everything happens in a network namespace of its own. Seen with Linux 6.18 and iproute2 6.1.
# The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/routes-of-a-link-that-goes-down.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net --mount --propagation private -- sh "$0" inside
fi
mount -t tmpfs none /run
uname -sr
failed=0
see() { # WHAT EXPECTED COMMAND…
    what=$1 expected=$2
    shift 2
    found=$("$@" | grep -c . || true)
    echo "$what: $found"
    [ "$found" = "$expected" ] || failed=1
}
ip link set lo up
ip link add vx0 type vxlan id 7 dstport 4790 local 127.0.0.1 nolearning
ip link set vx0 up
ip route add 10.1.0.0/24 via 10.1.0.0 dev vx0 onlink
ip -6 route add fd01::/64 via fd01:: dev vx0 onlink
ip neigh add 10.1.0.0 lladdr 02:00:00:00:00:02 dev vx0 nud permanent
bridge fdb add 02:00:00:00:00:02 dev vx0 dst 192.0.2.2

ip monitor route >/run/reported &
monitor=$!
sleep 1
ip link set vx0 down
ip link set vx0 up
sleep 1
kill $monitor
see "IPv4 routes that are left" 0 ip route show 10.1.0.0/24
see "of them reported as deleted" 0 grep "^Deleted 10.1.0.0/24" /run/reported
see "IPv6 routes that are left" 0 ip -6 route show fd01::/64
see "of them reported as deleted" 1 grep "^Deleted fd01::/64" /run/reported
see "permanent neighbours that are left" 0 ip -4 neigh show dev vx0
see "forwarding entries that are left" 1 bridge fdb show dev vx0

[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
