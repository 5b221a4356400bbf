"""Container runtimes of this host: which containers each of them has. For `cni-cnm gc` alone.

    containerd, podman, crio    how one runtime is asked: by its own program, which reads and writes nothing
    all_runtimes                the list of them
    runtime                     what each of them says of itself
    asked                       runs such a program
    unlisted                    endpoints that their runtime does not list

A list counts only if it is complete: of all namespaces of the runtime, from each of its sockets on this host. A runtime
that does not answer has no list, and then nothing of it is removed.
"""
