# An address in an nftables set with auto-merge may be there for its neighbour's time, instead of its own.
#
# A set with `flags interval, timeout` and auto-merge is the usual form of a ban list. nft(8) says of auto-merge only
# that adjacent and overlapping elements are merged. A merged element has one timeout and one comment, and nft chooses
# them. Each command succeeds and says nothing:
#
#   inside     a range for an hour, within a range for two seconds: it is not added. After two seconds it is gone.
#   beside     an address for an hour, next to one for two seconds: both are there for an hour.
#   comment    the comment of an element, such as who has requested it, becomes that of its neighbour.
#
# Without auto-merge nft refuses the first (conflicting intervals), and keeps the others apart.
#
# Needs root and nft. Everything happens in a network namespace of its own. Seen with Linux 6.18 and nftables 1.0.6 and
# 1.1.3. The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   sh findings/nft-auto-merge-timeouts.sh
set -eu
[ "${1:-}" = inside ] || exec unshare --net -- sh "$0" inside
uname -sr
nft --version
failed=0
nft add table inet t
for merge in "auto-merge;" ""; do
    name=${merge:+merged}
    name=${name:-apart}
    nft "add set inet t $name { type ipv4_addr; flags interval, timeout; $merge }"
done
add() { nft add element inet t "$1" "{ $2 }"; }
has() { nft get element inet t "$1" "{ $2 }" >/dev/null 2>&1 && echo there || echo gone; }
comments() { nft list set inet t "$1" | grep -o 'comment "[a-z]*"' | tr '\n' ' '; }
see() { # WHAT SEEN EXPECTED
    echo "$1: $2"
    [ "$2" = "$3" ] || failed=1
}

for name in merged apart; do
    add $name "10.1.0.0/24 timeout 2s"
    add $name "10.1.0.128/25 timeout 1h" 2>/dev/null && added=added || added=refused
    [ $name = merged ] && expected=added || expected=refused
    see "$name: 10.1.0.128/25 for an hour, inside 10.1.0.0/24 for 2 s" $added $expected
    add $name "10.2.0.2 timeout 2s"
    add $name "10.2.0.3 timeout 1h"
    add $name '10.3.0.2 timeout 1h comment "one"'
    add $name '10.3.0.3 timeout 1h comment "two"'
done
see "merged: comments of two neighbours" "$(comments merged)" 'comment "two" '
see "apart: comments of two neighbours" "$(comments apart)" 'comment "one" comment "two" '
sleep 3
echo "three seconds later"
see "merged: 10.1.0.130, which was added for an hour" "$(has merged 10.1.0.130)" gone
see "merged: 10.2.0.2, which was added for 2 s" "$(has merged 10.2.0.2)" there
see "apart: 10.2.0.2, which was added for 2 s" "$(has apart 10.2.0.2)" gone
see "apart: 10.2.0.3, which was added for an hour" "$(has apart 10.2.0.3)" there

[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
