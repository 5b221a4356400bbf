#!/bin/sh
# etcd's JSON gateway refuses every client certificate with a common name as soon as etcd has users.
#
# With --client-cert-auth a certificate is needed to connect. Over gRPC its common name is the user. The gateway cannot
# pass it on, and since that would surprise, it answers each request of such a client with status 400 and plain text:
# also with a right user's token, and also a request for a token. Nothing is refused before `auth enable`, so programs
# that worked for months stop in that moment. A certificate whose subject has no common name is taken.
#
# Needs root, etcd, curl and openssl. Everything happens in a network namespace of its own. Seen with etcd 3.4.23 and
# 3.6.16. The script prints what it sees, and fails if one of the statements above is not true any more.
#
#   findings/etcd-gateway-refuses-common-names.sh
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --net -- sh "$0" inside
fi
ip link set lo up
work=$(mktemp -d)
cd "$work"
etcd --version | head -1

new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $new -subj /CN=ca -keyout ca.key -out ca.pem -days 2 2>/dev/null
# issue NAME SUBJECT EXTENSION
issue() {
    openssl req $new -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf '%s\n' "$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.pem" 2>/dev/null
}
issue server /O=etcd subjectAltName=IP:127.0.0.1
issue named /CN=root keyUsage=digitalSignature
issue unnamed /O=nodes keyUsage=digitalSignature

etcd --data-dir data --client-cert-auth --trusted-ca-file ca.pem --cert-file server.pem --key-file server.key \
    --listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379 >log 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null || :; rm -rf "$work"' EXIT

# ask CERTIFICATE CALL REQUEST [TOKEN]: status and answer.
ask() {
    found=$(curl -s -w ' %{http_code}' --cacert ca.pem --cert "$1.pem" --key "$1.key" ${4:+-H "Authorization: $4"} \
        "https://127.0.0.1:2379/v3/$2" -d "$3" | tr -d '\n') || found=
}
# shows WHO TEXT
shows() {
    echo "$1: $found"
    case $found in *"$2"*) ;; *) echo "this has changed: no $2" >&2 && exit 1 ;; esac
}
read='{"key":"YQ=="}'
until ask named kv/range "$read" && [ "${found##* }" = 200 ]; do sleep 0.1; done
shows "with a common name, before there are users" " 200"
for call in 'role/add {"name":"root"}' 'user/add {"name":"root","password":"r"}' \
    'user/grant {"user":"root","role":"root"}' 'enable {}'; do
    ask unnamed auth/"${call%% *}" "${call#* }"
done

ask named kv/range "$read"
shows "with the common name root" " 400"
ask named auth/authenticate '{"name":"root","password":"r"}'
shows "the same, with a name and a password" "CommonName of client"
ask unnamed auth/authenticate '{"name":"root","password":"r"}'
token=$(printf %s "$found" | sed 's/.*"token":"\([^"]*\)".*/\1/')
ask unnamed kv/range "$read" "$token"
shows "without a common name, and with a token" " 200"
ask named kv/range "$read" "$token"
shows "with a common name, and with that token" " 400"
