#!/bin/sh
# Compile the relay: build/relay.sh OUTPUT [FLAG…]. PYTHON and CC choose the tools; flags given replace -O2 -static -s.
# SOURCE is another file that includes relay.c, for tests.
set -eu
output=$1
shift
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
if [ $# -eq 0 ]; then
    case $("${CC:-cc}" -dumpmachine) in
    x86_64-*linux-gnu | aarch64-*linux-gnu)  # without a C library, whose start takes longer than the relay
        set -- -O2 -static -s -nostdlib -ffreestanding -fno-builtin -fno-stack-protector -fno-pie -no-pie \
            -fno-tree-loop-distribute-patterns -fno-asynchronous-unwind-tables -U_FORTIFY_SOURCE "$root/build/start.c"
        ;;
    *) set -- -O2 -static -s ;;
    esac
fi
line=$("${PYTHON:-python3}" -I -c "
import sys
sys.path.insert(0, sys.argv[1])
from cni_cnm import __version__
from cni_cnm.cni.versions import LATER, answer
from json import dumps
others = ' '.join('{' + dumps(name) + ', ' + dumps(answer(name)) + '},' for name in LATER)
print('-DVERSION=' + dumps(__version__), '-DVERSION_REPLY=' + dumps(answer()), '-DVERSION_REPLIES=' + others, sep='\n')
" "$root")
IFS='
'
exec "${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror $line "$@" -o "$output" "${SOURCE:-$root/build/relay.c}"
