"""Chooses the frontend: CNI if CNI_COMMAND is set, else the command line. Imports nothing else: every pod pays."""

from __future__ import annotations

import os
import sys


def main() -> int:
    command = os.environ.get("CNI_COMMAND")
    if command == "VERSION":
        from cni_cnm.cni.versions import answer

        sys.stdout.write(answer())
        return 0
    os.umask(0o022)  # modes of files and folders are ours, not the caller's
    if command:
        import gc

        from cni_cnm.cni.process import run

        gc.disable()  # what a call leaves behind goes with its process
        return run(os.environ, os.path.basename(sys.argv[0]))
    from cni_cnm.cli import run_command

    return run_command(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
