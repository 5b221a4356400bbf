# dnsmasq with --bind-dynamic ends if port 53 of an address is taken. If the address comes later, it goes on without it.
#
# A server of a network of containers is often started together with the bridge. With --bind-dynamic dnsmasq takes
# addresses that come later, so the order seems not to matter. It does where another program holds TCP port 53:
#
#   address first     dnsmasq cannot listen at it, says so, and ends with 2. A supervisor sees that.
#   dnsmasq first     it logs a warning and runs on. It answers there by UDP, and has no socket for TCP. A client whose
#                     answer was too long asks again by TCP, and reaches the other program.
#
# So a process that runs does not show that the server can be asked. Start it after the address.
#
# Needs root, dnsmasq, ip, ss and python3. Everything happens in a network namespace of its own. Seen with Linux 6.18
# and Debian's dnsmasq-base 2.90. The script prints what it sees, and fails if one of the statements above is not true
# any more.
#
#   sh findings/dnsmasq-late-address.sh
set -eu
[ "${1:-}" = inside ] || exec unshare --net -- sh "$0" inside
uname -sr
dnsmasq --version | head -1
folder=$(mktemp -d)
failed=0
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
python3 -c '
import signal, socket
other = socket.socket()
other.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND: the address may come later
other.bind(("192.0.2.1", 53))
other.listen()
signal.pause()' &
other=$!
server=
trap 'kill $other $server 2>/dev/null; rm -r "$folder"' EXIT
until ss -Hltn 'sport = :53' | grep -q 192.0.2.1; do sleep 0.1; done

start() {
    dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file --no-hosts --no-resolv --bind-dynamic \
        --interface=br0 --except-interface=lo --log-facility=- 2>"$folder/log" &
    server=$!
}
listens() { ss -Hln "$1" -p 'sport = :53' | grep 192.0.2.1 | grep -o dnsmasq | head -1; }
see() { # WHAT SEEN EXPECTED
    echo "$1: $2"
    [ "$2" = "$3" ] || failed=1
}

ip address add 192.0.2.1/24 dev br0
start
code=0
wait $server || code=$?
see "address first, exit code" $code 2
grep 'dnsmasq' "$folder/log" | tail -1

ip address del 192.0.2.1/24 dev br0
start
until grep -q started "$folder/log"; do sleep 0.1; done
ip address add 192.0.2.1/24 dev br0
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -n "$(listens -u)" ] && break
    sleep 0.1
done
sleep 1
kill -0 $server 2>/dev/null && runs=yes || runs=no
see "dnsmasq first, runs on" $runs yes
see "dnsmasq first, listens by UDP" "$(listens -u)" dnsmasq
see "dnsmasq first, listens by TCP" "$(listens -t)" ""
grep -i 'address already in use' "$folder/log" || echo "the log does not name the address"

[ $failed = 0 ] || { echo "this has changed" >&2; exit 1; }
