#!/bin/sh
# Three commands about a VXLAN device's forwarding entries succeed, and do not do what they say.
#
# An entry sends frames for a MAC to one host. (1) A control plane (`extern_learn`) that replaces an entry of an
# administrator: the kernel means to protect that entry ("do not allow an externally learned entry to take over an entry
# added by the user", vxlan_fdb_update_existing in drivers/net/vxlan/vxlan_core.c). It keeps its flags, but from then on
# it leads to the new host. So nothing shows who has changed it. (2) A deletion that names another host than the entry
# has: exit status 0, nothing is removed, nothing is reported. (3) `append` of a second host: the same; `add` is refused.
#
# A program that shares a device must read an entry before it replaces or deletes it.
#
# Needs root, iproute2 and Linux with VXLAN. Everything happens in a network namespace of its own. Seen with Linux 6.18
# and iproute2 6.1. The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/vxlan-forwarding-entries.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net -- sh "$0" inside
fi
uname -sr
failed=0
mac=02:00:00:00:00:02
see() { # WHAT EXPECTED: the only entry
    found=$(bridge fdb show dev vx0 | sed 's/ *$//')
    echo "$1: $found"
    [ "$found" = "$mac dst $2 self permanent" ] || failed=1
}
ip link add vx0 type vxlan id 7 dstport 4790 local 127.0.0.1 nolearning
ip link set vx0 up

bridge fdb add $mac dev vx0 dst 192.0.2.2
see "an administrator's entry" 192.0.2.2
bridge fdb replace $mac dev vx0 dst 192.0.2.3 extern_learn
see "replaced by a control plane, without its mark" 192.0.2.3
bridge fdb del $mac dev vx0 dst 192.0.2.99
see "after the deletion of another one, exit status $?" 192.0.2.3
bridge fdb append $mac dev vx0 dst 192.0.2.4
see "after a second host was appended, exit status $?" 192.0.2.3
if bridge fdb add $mac dev vx0 dst 192.0.2.4 2>/dev/null; then failed=1; else echo "adding it is refused"; fi

[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
