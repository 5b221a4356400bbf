#!/bin/sh
# The JSON gateway of etcd answers some failures with HTTP status 200, and keeps the connection of a failed watch open.
#
# The calls that stream (lease/keepalive, watch) have sent their status before they know. A program that looks at the
# status, as `curl --fail` does, takes these for success:
#
#   - extending a lease that has run out or was revoked: 200, with the lease's ID and without a TTL;
#   - a watch from a revision that is compacted: 200 and "created", then "canceled". The connection stays open and says
#     nothing more, so a program that waits for events waits for ever;
#   - a watch from a revision that is not there yet, as after a backup was restored: 200, "created", and silence;
#   - a watch with a token that is void: 200, with "created" and "canceled" in one line.
#
# What tells them apart is only in the body: TTL, canceled, and the header's revision.
#
# Needs root, etcd and curl. Everything happens in a network namespace of its own. Seen with etcd 3.4.23 and 3.6.16.
# The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/etcd-gateway-failures-with-200.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net -- sh "$0" inside
fi
ip link set lo up
data=$(mktemp -d)
etcd --version | head -1
etcd --data-dir "$data" >"$data.log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null || :; rm -rf "$data" "$data.log"' EXIT
url=http://127.0.0.1:2379/v3
key='"key":"YQ=="' # a
until curl -sf $url/kv/range -d "{$key}" >/dev/null; do sleep 0.1; done

# ask CALL REQUEST [HEADER]: the status in the first line, then the answer of at most 2 s. `open`: it had not ended then.
ask() {
    status=0
    found=$(curl -s -m 2 -w '\n' -D "$data/head" ${3:+-H "$3"} "$url/$1" -d "$2") || status=$?
    found="$(head -1 "$data/head" | tr -d '\r')
$found"
    [ $status != 28 ] || found="$found
open"
    printf '$ %s %s\n%s\n\n' "$1" "$2" "$found"
}
# says TEXT…: the last answer has each of these.
says() {
    for text; do
        case $found in *"$text"*) ;; *) echo "this has changed: no $text" >&2 && exit 1 ;; esac
    done
}
# silent TEXT: the last answer does not have it.
silent() {
    case $found in *"$1"*) echo "this has changed: $1" >&2 && exit 1 ;; esac
}

ask lease/keepalive '{"ID":"7"}'
says "200 OK" '"ID":"7"'
silent TTL
silent error

for value in MQ== Mg== Mw==; do curl -sf $url/kv/put -d "{$key,\"value\":\"$value\"}" >/dev/null; done
curl -sf $url/kv/compaction -d '{"revision":"4"}' >/dev/null
ask watch "{\"create_request\":{$key,\"start_revision\":\"2\"}}"
says "200 OK" '"created":true' '"canceled":true' '"compact_revision":"4"' open

ask watch "{\"create_request\":{$key,\"start_revision\":\"999\"}}"
says "200 OK" '"created":true' open
silent canceled

for call in 'role/add {"name":"root"}' 'user/add {"name":"root","password":"r"}' \
    'user/grant {"user":"root","role":"root"}' 'enable {}'; do
    curl -sf $url/auth/"${call%% *}" -d "${call#* }" >/dev/null
done
ask kv/range "{$key}" "Authorization: void"
says "401"
ask watch "{\"create_request\":{$key}}" "Authorization: void"
says "200 OK" '"created":true' '"canceled":true' "invalid auth token"
