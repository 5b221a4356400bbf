#!/bin/sh
# A refused `ip link set DEV netns NS name NAME` has moved the link all the same.
#
# RTM_SETLINK with a namespace and a name moves first, and renames then (do_setlink in net/core/rtnetlink.c). If the name
# is taken there, the request fails with "File exists", and the link is in the other namespace, under its old name. A
# program that takes the failure for "nothing happened" loses the link, and undoes the move with the wrong one: what it
# finds under the new name is another program's.
#
# Needs root and iproute2. Everything happens in network namespaces of its own. Seen with Linux 6.18 and iproute2 6.1.
# The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/refused-move.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net --mount --propagation private -- sh "$0" inside
fi
mkdir -p /run/netns
mount -t tmpfs none /run/netns
uname -sr
ip netns add other
ip -n other link add eth0 type bridge
ip link add port0 type veth peer name port1

echo '$ ip link set port0 netns other name eth0'
if ip link set port0 netns other name eth0; then
    echo "this has changed: it was not refused" >&2
    exit 1
fi
echo "here: $(ip -br link show port0 2>&1)"
echo "there: $(ip -n other -br link show port0 2>&1)"
ip link show port0 >/dev/null 2>&1 && { echo "this has changed: the link is still here" >&2; exit 1; }
ip -n other link show port0 >/dev/null || { echo "this has changed: the link is not there" >&2; exit 1; }
