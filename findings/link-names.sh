#!/bin/sh
# A link can be called `ü`, but not `à`; and nft writes some names that it accepts as another name.
#
# Linux takes any byte in a link's name but white space, `/` and `:`. Its isspace() counts the byte A0 as white space
# (no-break space in ISO 8859-1), and that byte is the second half of `à` in UTF-8. The name is refused with EINVAL.
#
# nft takes a `*` at the end of a name for a pattern, and `\*` for the character. Where it removes that backslash, it
# removes every other one as well (xstrunescape in src/utils.c): an element for the link `a\b*`, written "a\b\*", is
# stored as `ab*`, which is another link. There is no way to write a name with a double quote.
#
# Needs root, iproute2 and nftables. Everything happens in network namespaces of its own. Seen with Linux 6.18 and
# nftables 1.0.6. The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/link-names.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net -- sh "$0" inside
fi
uname -sr
nft --version
status=0
for name in "$(printf 'a\303\274')" "$(printf 'a\303\240')"; do
    if ip link add "$name" type bridge 2>/dev/null; then
        answer=made
    else
        answer=refused
    fi
    echo "the link $name: $answer"
    answers="${answers:-}$answer "
done
[ "$answers" = "made refused " ] || status=1
nft add table inet t
nft add set inet t s '{ type ifname; }'
nft add element inet t s '{ "a\b\*" }'
stored=$(nft list set inet t s | sed -n 's/.*elements = { \(.*\) }/\1/p')
printf '%s\n' 'the element "a\b\*" is stored as '"$stored"
[ "$stored" = '"ab*"' ] || status=1
exit $status
