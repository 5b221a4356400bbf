#!/bin/sh
# The MTU that a bridge is created with does not stay: it counts as set by nobody.
#
# `ip link add br0 mtu 1400 type bridge` makes a bridge with that MTU. As soon as its last port leaves, it has 1500, and
# each port that joins lowers it to its own. An MTU stays only if it was changed after the bridge was made, and setting
# the MTU that it has already is no change (br_mtu_auto_adjust and br_change_mtu in net/bridge, dev_set_mtu in net/core).
# A container that comes next is given the wrong MTU by a program that takes the bridge's.
#
# Needs root and iproute2. Everything happens in a network namespace of its own. Seen with Linux 6.18 and iproute2 6.1.
# The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/bridge-mtu.sh
set -eu
[ "${1:-}" = inside ] || exec unshare --net -- sh "$0" inside

failed=0
mtu() { ip -o link show "$1" | sed 's/.*mtu \([0-9]*\).*/\1/'; }
see() { # WHAT BRIDGE EXPECTED
    found=$(mtu "$2")
    echo "$1: $found"
    [ "$found" = "$3" ] || failed=1
}
ports() { # BRIDGE: one joins, and leaves again
    ip link add port0 mtu "$2" type veth peer name port1
    ip link set port0 master "$1"
    see "$3, with a port of $2" "$1" "$4"
    ip link del port0
}
uname -sr

ip link add br0 mtu 1400 type bridge
ports br0 1400 "created with 1400" 1400
see "created with 1400, after its last port" br0 1500

ip link add br1 mtu 1400 type bridge
ip link set br1 mtu 1400
ports br1 1400 "created with 1400, set to 1400" 1400
see "created with 1400, set to 1400, after its last port" br1 1500

ip link add br2 type bridge
ip link set br2 mtu 1400
ports br2 1300 "changed to 1400" 1400
see "changed to 1400, after its last port" br2 1400

[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
