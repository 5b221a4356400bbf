#!/bin/sh
# go-cni counts its loopback network when it numbers interfaces, for a file NAME.conflist and not for a file NAME.conf.
#
# go-cni v1.1.13, the library of containerd, nerdctl, BuildKit and Nomad, with WithLoNetwork and one network.
# Expected: the interface of the first network is eth0, whatever kind of file it is read from. So it is with containerd,
# which reads a folder (WithDefaultConf).
# Seen: eth0 from the folder and from NAME.conf (WithConfFile), eth1 from NAME.conflist (WithConfListFile): its number is
# that of networks so far, and "cni-loopback" is one. BuildKit in the mode "cni" reads its file so (BuildKit v0.26.2).
# A plugin or a script that takes eth0 for a container's interface is wrong there.
#
# Needs Go. Nothing is called, and nothing on the machine is changed but Go's caches.
# The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/go-cni-interface-numbers.sh
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir net.d
echo '{"cniVersion": "1.0.0", "name": "builds", "plugins": [{"type": "bridge"}]}' >builds.conflist
echo '{"cniVersion": "1.0.0", "name": "builds", "type": "bridge"}' >builds.conf
cp builds.conflist net.d
cat >main.go <<'EOF'
package main

import (
	"fmt"

	cni "github.com/containerd/go-cni"
)

func main() {
	for _, kind := range []struct {
		name string
		load cni.Opt
	}{
		{"folder", cni.WithDefaultConf},
		{"builds.conf", cni.WithConfFile("builds.conf")},
		{"builds.conflist", cni.WithConfListFile("builds.conflist")},
	} {
		library, err := cni.New(cni.WithPluginConfDir("net.d"), cni.WithInterfacePrefix("eth"), cni.WithLoNetwork, kind.load)
		if err != nil {
			panic(err)
		}
		for _, network := range library.GetConfig().Networks {
			fmt.Println(kind.name, network.Config.Name, network.IFName)
		}
	}
}
EOF
{ go mod init finding && go get github.com/containerd/go-cni@v1.1.13; } >log 2>&1 || { cat log >&2; exit 1; }
go run . >seen
cat seen
cat >expected <<'EOF'
folder cni-loopback lo
folder builds eth0
builds.conf cni-loopback lo
builds.conf builds eth0
builds.conflist cni-loopback lo
builds.conflist builds eth1
EOF
cmp seen expected || { echo "this has changed" >&2; exit 1; }
