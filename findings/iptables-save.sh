#!/bin/sh
# iptables-nft-save prints less than the kernel has, and exits with 0.
#
# A rule that `nft` puts into a table of iptables may have a condition that iptables does not know. What iptables then
# prints depends on the condition:
#
#   a set                  the rule is printed without the condition: a rule for one address looks like one for all
#   ct state               instead of the table a comment is printed, so the policy of a chain is not seen
#   an Ethernet address    the policies and an error are printed, and no rule
#
# The exit status of iptables-nft-save is 0 in the first two cases. A program that reads rules this way, to find out
# where packets are dropped, takes an administrator's block list for the default, or does not see that FORWARD drops.
#
# In a table with a native `ct state`, iptables still adds rules, but does not delete them: -A and -I exit with 0, -D of
# a rule that is there exits with 3. So what such a program has added, it cannot take back.
#
# Needs root, iptables 1.8.9 and nft 1.0.6, as Debian 12 has them. Where another iptables is installed, Debian's package
# is fetched into a temporary folder. Everything happens in a network namespace of its own. The script prints what it
# sees, and fails if one of the statements above is not true any more.
#
#   findings/iptables-save.sh
set -eu

if [ "${1:-}" != inside ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    if [ "$(iptables-nft -V 2>/dev/null)" != "iptables v1.8.9 (nf_tables)" ]; then
        chmod 755 "$folder"
        (cd "$folder" && apt-get -qq download iptables=1.8.9-2 libxtables12=1.8.9-2 libnftnl11 libmnl0)
        for package in "$folder"/*.deb; do dpkg -x "$package" "$folder/root"; done
        LD_LIBRARY_PATH=$(dirname "$(find "$folder/root" -name 'libxtables.so.12' | head -1)")
        PATH=$folder/root/usr/sbin:$PATH
        XTABLES_LIBDIR=$LD_LIBRARY_PATH/xtables
        export LD_LIBRARY_PATH PATH XTABLES_LIBDIR
    fi
    export folder
    unshare --net -- sh "$0" inside
    exit
fi

iptables-nft -V
nft -v

failed=0
statement() { # TEXT COMMAND...: says whether it is true
    text=$1
    shift
    if "$@"; then
        echo "    true: $text"
    else
        echo "    NOT TRUE ANY MORE: $text"
        failed=1
    fi
}
saved() { # prints what iptables-nft-save prints of the table, and its exit status
    status=0
    iptables-nft-save -t filter >"$folder/saved" 2>"$folder/errors" || status=$?
    sed 's/ on .*//; s/^/    /' "$folder/saved" "$folder/errors"
    echo "    exit status $status"
}
prints() { grep -q -- "$1" "$folder/saved"; }
not() { if "$@"; then return 1; fi; }
exits() { # STATUS ARGUMENTS...: of iptables-nft
    expected=$1 got=0
    shift
    iptables-nft "$@" >/dev/null 2>&1 || got=$?
    [ "$got" = "$expected" ]
}
table() { # the table as a firewall script leaves it: FORWARD drops, and one native rule is before that
    iptables-nft -t filter -F 2>/dev/null || nft delete table ip filter
    iptables-nft -P FORWARD DROP
    nft add set ip filter bad '{ type ipv4_addr; }' 2>/dev/null || :
    nft add rule ip filter FORWARD "$1"
    echo
    echo "nft add rule ip filter FORWARD $1"
}

table 'ip saddr @bad drop'
saved
statement "the exit status is 0" [ "$status" = 0 ]
statement "the rule is printed without its condition" prints '^-A FORWARD -j DROP$'
statement "the kernel has the condition" sh -c 'nft list chain ip filter FORWARD 2>/dev/null | grep -q "ip saddr @bad drop"'

table 'ct state invalid drop'
saved
statement "the exit status is 0" [ "$status" = 0 ]
statement "no chain is printed, so the policy DROP is not seen" not prints '^:FORWARD'
statement "iptables -S exits with 1" exits 1 -S FORWARD
statement "iptables -A adds a rule" exits 0 -A FORWARD -i lo -j ACCEPT
statement "iptables -D of this rule exits with 3" exits 3 -D FORWARD -i lo -j ACCEPT
statement "the rule is still there" sh -c 'nft list chain ip filter FORWARD 2>/dev/null | grep -q "iifname .lo. .*accept"'

table 'ether saddr 02:00:00:00:00:01 drop'
saved
statement "the exit status is 3" [ "$status" = 3 ]
statement "the policy is printed, and no rule" sh -c \
    'grep -q "^:FORWARD DROP" "$0" && ! grep -q "^-A" "$0"' "$folder/saved"

exit $failed
