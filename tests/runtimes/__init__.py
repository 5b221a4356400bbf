"""Container runtimes beside containerd's CRI and Docker: the real ones where they can be had, else their calls."""
