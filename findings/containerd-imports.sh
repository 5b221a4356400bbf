#!/bin/sh
# A file that containerd 1.6 imports replaces the section of a plugin, instead of adding to it.
#
# containerd-config.toml(5) of 1.6: "Imported files will overwrite simple fields like int or string (if not empty) and
# will append array and map fields." The map `plugins` has one value for each plugin, and that value is replaced as a
# whole. So an imported file with the two folders of CNI makes containerd forget sandbox_image, the options of its
# runtimes and everything else that config.toml says about the CRI, without an error. Two imported files with different
# keys of one plugin drop each other's as well. containerd 2 merges them.
#
# Needs Debian 12, whose package containerd 1.6.20 is unpacked in a temporary folder. Nothing is installed or started.
# The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/containerd-imports.sh
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -q -o APT::Sandbox::User=root download "containerd=1.6.20~ds1*" >/dev/null
dpkg-deb -x containerd_*.deb .
cat >config.toml <<'EOF'
version = 2
imports = ["cni.toml"]
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "registry.example/pause:1"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true
EOF
cat >cni.toml <<'EOF'
version = 2
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "/etc/other/net.d"
EOF
failed=0
# see WHAT KEY EXPECTED: what counts, as containerd itself says it.
see() {
    found=$(usr/bin/containerd --config config.toml config dump | sed -n "s/^ *$2 = //p" | head -1)
    echo "$1: $2 = $found"
    [ "$found" = "$3" ] || failed=1
}
usr/bin/containerd --version
see "with the import" conf_dir '"/etc/other/net.d"'
see "with the import" sandbox_image '"registry.k8s.io/pause:3.6"'
see "with the import" SystemdCgroup false
sed -i '/^imports/d' config.toml
see "without it" sandbox_image '"registry.example/pause:1"'
see "without it" SystemdCgroup true
[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
