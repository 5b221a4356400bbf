#!/bin/sh
# ip6tables-legacy -C finds a rule that is not there, if one with other ports is.
#
# ip6tables 1.8.9 of Debian 12, as `ip6tables-legacy`. Its -D, iptables-legacy and the programs for nf_tables are right.
# Expected: -C exits with 1 if there is no such rule (iptables(8): "Check whether a rule matching the specification does
# exist").
# Seen: it exits with 0 if there is a rule that differs only in the ports of tcp or udp.
# The portmap plugin v1.9.1 adds a rule only where -C does not find it. So of two IPv6 ports of a container that differ
# in their host ports alone, only the first is published. ADD and CHECK of the plugin succeed.
#
#   findings/ip6tables-legacy-check.sh        needs root, and Go for the plugin
set -eu
[ "${INSIDE:-}" ] || {
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    if [ "$(ip6tables-legacy -V 2>/dev/null)" != "ip6tables v1.8.9 (legacy)" ]; then
        chmod 755 "$folder"
        (cd "$folder" && apt-get -qq download iptables=1.8.9-2 libxtables12=1.8.9-2 libip4tc2 libip6tc2 libnftnl11 libmnl0)
        for package in "$folder"/*.deb; do dpkg -x "$package" "$folder/root"; done
        LD_LIBRARY_PATH=$(dirname "$(find "$folder/root" -name 'libxtables.so.12' | head -1)")
        PATH=$folder/root/usr/sbin:$PATH
        XTABLES_LIBDIR=$LD_LIBRARY_PATH/xtables
        export LD_LIBRARY_PATH PATH XTABLES_LIBDIR
    fi
    GOBIN=$folder go install github.com/containernetworking/plugins/plugins/meta/portmap@v1.9.1
    for name in iptables ip6tables; do ln -s "$(command -v $name-legacy)" "$folder/$name"; done
    INSIDE=$folder PATH=$folder:$PATH unshare --net sh "$0"
    exit
}
ip link set lo up
ip6tables -V
ip6tables -t nat -N SEEN
ip6tables -t nat -A SEEN -p udp --dport 1 -j ACCEPT
ip6tables -t nat -C SEEN -p udp --dport 2 -j ACCEPT && exists=yes || exists=no
echo "a rule for port 1 is there; -C for port 2: $exists"
ip6tables -t nat -D SEEN -p udp --dport 2 -j ACCEPT 2>/dev/null && deleted=yes || deleted=no
echo "-D for port 2: $deleted"

export CNI_CONTAINERID=c1 CNI_NETNS=/proc/self/ns/net CNI_NETNS_OVERRIDE=1 CNI_IFNAME=eth0 CNI_PATH="$INSIDE"
port='"containerPort": 80, "protocol": "tcp"'
config='{"cniVersion": "1.0.0", "name": "net", "type": "portmap", "backend": "iptables",
 "runtimeConfig": {"portMappings": [{"hostPort": 8001, '$port'}, {"hostPort": 8002, '$port'}]},
 "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
  "ips": [{"address": "fd00::2/64", "interface": 0}]}}'
for verb in ADD CHECK; do
    echo "$config" | CNI_COMMAND=$verb "$INSIDE/portmap" >"$INSIDE/answer" && code=0 || code=$?
    echo "$verb of portmap with the host ports 8001 and 8002: exit code $code"
    [ "$code" = 0 ] || { cat "$INSIDE/answer" && exit 1; }
done
ip6tables -t nat -S | grep DNAT
published=$(ip6tables -t nat -S | sed -n 's/.*--dport \([0-9]*\) -j DNAT.*/\1/p' | tr '\n' ' ')
echo "published: $published"
[ "$exists $deleted $published" = "yes no 8001 " ] || { echo "this has changed" >&2; exit 1; }
