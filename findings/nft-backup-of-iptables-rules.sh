# Rules that are saved by `nft list ruleset` and loaded again are not removed any more by the CNI plugin that made them.
#
# The reference plugin bridge v1.9.1 with ipMasq calls iptables, which is iptables-nft on most distributions. Its rules
# are in nftables, so `nft list ruleset` saves them, and `nft -f` loads them: guides of nftables.service do this.
# Expected: the rules are the same again. Packets indeed meet the same conditions.
# Seen: nft prints no comment of iptables. After loading, iptables-nft calls the table incompatible, and -D finds no
# rule that had a comment, as all rules of the plugin had. DEL of a container that was there before fails once, because
# its chain is in use. The runtime's next DEL succeeds, and the rule and the chain stay for ever.
# nft's warning "do not touch!" is about writing, and is printed on stderr: a saved file does not have it.
#
# Needs root, nft, iptables-nft and Go. Everything happens in network namespaces of its own. Seen with nftables 1.0.6
# and iptables 1.8.9 of Debian 12. The script prints what it sees, and fails if one of the statements above is not true
# any more.
#
#   sh findings/nft-backup-of-iptables-rules.sh
set -eu
if [ -z "${INSIDE:-}" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    for name in main/bridge ipam/host-local; do
        GOBIN=$folder go install github.com/containernetworking/plugins/plugins/$name@v1.9.1
    done
    for name in iptables ip6tables; do ln -s "$(command -v $name-nft)" "$folder/$name"; done
    INSIDE=$folder PATH=$folder:$PATH unshare --net --mount --propagation private -- sh "$0"
    exit
fi
mkdir -p /run/netns
mount -t tmpfs none /run/netns
nft --version
iptables -V
failed=0
see() { # WHAT SEEN EXPECTED
    echo "$1: $2"
    [ "$2" = "$3" ] || failed=1
}
config='{"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
 "ipMasqBackend": "iptables",
 "ipam": {"type": "host-local", "subnet": "10.9.0.0/24", "dataDir": "'"$INSIDE"'/leases"}}'
call() { # VERB CONTAINER
    export CNI_COMMAND="$1" CNI_CONTAINERID="$2" CNI_NETNS="/run/netns/$2" CNI_IFNAME=eth0 CNI_PATH="$INSIDE"
    if echo "$config" | "$INSIDE/bridge" >"$INSIDE/answer"; then
        echo "exit code 0"
    else
        grep -o '"msg": .*' "$INSIDE/answer" >&2
        echo failed
    fi
}
rules() { nft list ruleset 2>/dev/null | grep -c 'saddr 10.9.0.' || true; }

for name in before after; do ip netns add $name; done
see "ADD" "$(call ADD before)" "exit code 0"
iptables-save -t nat | grep -e "--comment"
nft list ruleset >"$INSIDE/saved" 2>/dev/null
nft flush ruleset
nft -f "$INSIDE/saved"
echo "saved by nft list ruleset, flushed, loaded by nft -f"
see "comments in the saved file" "$(grep -c 'id: ' "$INSIDE/saved" || true)" 0
see "rules for the container" "$(rules)" 1
see "what iptables-save says" "$(iptables-save -t nat | grep -o 'is incompatible' || true)" "is incompatible"
see "DEL" "$(call DEL before)" failed
see "DEL once more" "$(call DEL before)" "exit code 0"
see "rules for the container" "$(rules)" 1
see "ADD of another container" "$(call ADD after)" "exit code 0"

[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
