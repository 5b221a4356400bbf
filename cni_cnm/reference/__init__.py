"""What the reference plugins and podman's CNI leave on a host for one container's interface: read, removed, put back.

    discover.py     read_all(): every attachment of the host, each with what of it is not understood
    attachment.py   Attachment: the value
    rules.py        rules_of(): its own rules; shared_rules_of(): those that other pods need, too
    change.py       write(), remove(): the rules, limits and saved settings of an attachment
    leftover.py     find(): what one plugin has left, after its own DEL has failed

Each value is made from what libcni keeps of the ADD (its cache) and is compared with what the host has. What the
reference would not make of this value is named in `not_understood`, and then nothing here changes it.
Bridge, host-local, portmap, firewall, bandwidth and tuning, of Debian's 1.1.1 to 1.9; packet filter in iptables and
nftables.
"""
