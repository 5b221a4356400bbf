#!/bin/sh
# Turning on IPv6 forwarding removes the host's default route, if a router advertised it.
#
# `sysctl net.ipv6.conf.all.forwarding=1`, which every container network with IPv6 needs, makes the host a router. The
# kernel then forgets the default routes of router advertisements, and ignores further ones: on all interfaces but
# those with accept_ra 2 (addrconf_fixup_forwarding and __rt6_purge_dflt_routers in net/ipv6). The route must be kept
# before forwarding is turned on; afterwards it is back only with the router's next advertisement.
#
# Needs root, iproute2 and Python. Everything happens in network namespaces of its own. Seen with Linux 6.18. The script
# prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/router-advertisement-and-forwarding.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net --mount --propagation private -- sh "$0" inside
fi
mkdir -p /run/netns
mount -t tmpfs none /run/netns
uname -sr
failed=0
for accept_ra in 1 2; do
    ip netns add router
    ip link add up0 type veth peer name eth0 netns router
    sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.up0.accept_dad=0 net.ipv6.conf.up0.accept_ra=$accept_ra
    ip netns exec router sysctl -qw net.ipv6.conf.eth0.accept_dad=0
    ip link set up0 up
    ip -n router link set eth0 up
    until ip -6 route show default | grep -q .; do
        sleep 0.2
        ip netns exec router python3 -Ic '
import socket, struct
router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
router.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
router.sendto(advertisement, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))' 2>/dev/null || :
    done
    echo "accept_ra $accept_ra, before: $(ip -6 route show default)"
    sysctl -qw net.ipv6.conf.all.forwarding=1
    after=$(ip -6 route show default)
    echo "accept_ra $accept_ra, with forwarding: ${after:-no default route}"
    case $accept_ra/$after in 1/ | 2/default*) ;; *) failed=1 ;; esac
    ip netns del router
    until ! ip link show up0 >/dev/null 2>&1; do sleep 0.1; done
done
[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
