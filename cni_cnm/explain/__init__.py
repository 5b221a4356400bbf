"""`cni-cnm explain`: the way of one packet, in steps, as the kernel would take it now. Nothing is sent.

    question.py     what the caller asks about: who sends, and to where
    packet.py       the packet, and the bytes that rules look at
    space.py        one network namespace: its links, its ruleset, what connection tracking has changed in it
    rules.py        runs a chain of nf_tables on the packet; fields.py has what it looks at, rule_words.py how it reads
    xt_matches.py   matches and targets of iptables
    legacy.py       rules of iptables-legacy
    hooks.py        all chains of a hook, with the translation of addresses
    neighbours.py   which MAC an address has, or who would answer the question; of IPv6 with discovery.py
    switch.py       the way through a bridge
    walk.py         the way through namespaces
    explanation.py  the packet's way and that of the answer
    live.py         the trace of a real packet

Routes are asked of the kernel, which also applies rp_filter, forwarding and policy rules. Rules and sets are read from
the kernel. The records give names only. Where a thing cannot be known, the verdict is `unknown` with the reason.
"""
