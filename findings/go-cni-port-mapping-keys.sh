#!/bin/sh
# containerd's library sends published ports with the keys HostPort and ContainerPort, not hostPort and containerPort.
#
# go-cni v1.1.13, the library of containerd, nerdctl and Nomad, with a list whose plugin has the capability portMappings.
# Expected: CNI's conventions name the keys of a mapping hostPort, containerPort, protocol and hostIP, and its reference
# plugin portmap reads these.
# Seen: runtimeConfig.portMappings has HostPort, ContainerPort, Protocol and HostIP, the names of fields in Go: the structure
# has no names for JSON. portmap reads them because Go's decoder ignores the case of keys. A plugin in a language whose
# decoder does not ignore it publishes nothing, without an error.
#
# Needs root and Go. The only plugin that is called is a script that keeps its input.
# The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/go-cni-port-mapping-keys.sh
set -eu
[ "${INSIDE:-}" ] || {
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    INSIDE=$folder unshare --net --mount --propagation private sh "$0"
    exit
}
cd "$INSIDE"
mkdir -p /var/lib/cni && mount -t tmpfs none /var/lib/cni # libcni's cache
cat >keep <<EOF
#!/bin/sh
cat >$INSIDE/stdin
echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}], "ips": [{"address": "192.0.2.2/24", "interface": 0}]}'
EOF
chmod +x keep
cat >main.go <<'EOF'
package main

import (
	"context"
	"os"

	cni "github.com/containerd/go-cni"
)

const list = `{"cniVersion": "1.0.0", "name": "ports", "plugins": [{"type": "keep", "capabilities": {"portMappings": true}}]}`

func main() {
	library, err := cni.New(cni.WithPluginDir([]string{os.Args[1]}), cni.WithConfListBytes([]byte(list)))
	if err == nil {
		ports := []cni.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}
		_, err = library.Setup(context.Background(), "c1", "/proc/self/ns/net", cni.WithCapabilityPortMap(ports))
	}
	if err != nil {
		panic(err)
	}
}
EOF
{ go mod init finding && go get github.com/containerd/go-cni@v1.1.13; } >log 2>&1 || { cat log >&2; exit 1; }
go run . "$INSIDE"
seen=$(grep -o '"runtimeConfig":{[^}]*}' stdin)
echo "$seen"
[ "$seen" = '"runtimeConfig":{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""}' ] ||
    { echo "this has changed" >&2; exit 1; }
