#!/bin/sh
# cnitool gc removes attachments that are in use, also those that cnitool itself has just added.
#
# cnitool v1.3.0 with the reference plugins v1.9.1, libcni's own cache of attachments in place.
# Expected: garbage is what no live attachment owns. libcni keeps a cache of the attachments that were added by it, the
# namespace is there, and CHECK passes; so GC should keep them.
# Seen: `cnitool gc` sends an empty list of valid attachments. libcni first calls DEL for every attachment in its cache,
# and each plugin then gets GC with an empty list. The pod loses its interface and its lease; the exit code is 0.
# So gc is for a caller that knows every attachment. It is not a clean-up command for a node with running pods.
set -eu
[ "${INSIDE:-}" ] || {
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    module=github.com/containernetworking/plugins/plugins
    GOBIN=$folder go install github.com/containernetworking/cni/cnitool@v1.3.0
    GOBIN=$folder go install $module/main/bridge@v1.9.1 $module/ipam/host-local@v1.9.1
    INSIDE=$folder unshare --net --mount --propagation private sh "$0"
    exit
}
mount -t tmpfs none /run
mkdir -p /run/netns "$INSIDE/leases"
mount -t tmpfs none /var/lib/cni 2>/dev/null || { mkdir -p /var/lib/cni && mount -t tmpfs none /var/lib/cni; }
cd "$INSIDE"
cat >pods.conflist <<EOL
{"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "$INSIDE/leases", "ranges": [[{"subnet": "10.77.0.0/24"}]]}}]}
EOL
export CNI_PATH="$INSIDE" NETCONFPATH="$INSIDE"
ip netns add pod
./cnitool add pods /run/netns/pod >/dev/null
./cnitool check pods /run/netns/pod
interface() { ip netns exec pod ip -o link show eth0 >/dev/null 2>&1 && echo yes || echo no; }
lease() { [ -e leases/pods/10.77.0.2 ] && echo yes || echo no; }
before="interface $(interface), lease $(lease)"
./cnitool gc pods /run/netns/pod && code=0 || code=$?
after="interface $(interface), lease $(lease)"
printf 'before gc: %s\ngc: exit code %s\nafter gc:  %s\n' "$before" "$code" "$after"
[ "$before $code $after" = "interface yes, lease yes 0 interface no, lease no" ] || { echo "this has changed" >&2; exit 1; }
