"""Files that configure networks for CNI runtimes, usually in /etc/cni/net.d: read, explained, checked, written.

conflist       one file: its list, the part that is ours, and the line of each key
folder         the files of a folder, in the order in which a runtime reads them
check          what a runtime and this program would refuse or ignore, before a pod is started
meaning        what a configuration means, in words
effective      the keys of a network as they are in effect, and the shortest configuration that makes it
changes        an edit of a network, applied to a configuration
"""
