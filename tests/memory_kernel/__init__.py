"""The kernel in memory, for tests without root: the contracts of cni_cnm/kernel, kept in dicts.

    namespaces     MemoryNamespaces: what a runtime makes and removes
    stack          MemoryStack: the verbs of one namespace
    space          links, addresses, routes and sysctls of one namespace, by the kernel's rules
    parent_links   macvlan, ipvlan and VLAN links
    machine        what the namespaces of one machine share: the kernel's features
    nft            MemoryNft: the packet filter

The tests of tests/contract run on this and on the real kernel.
"""
