"""Reality against the records: what differs, and putting it right.

    reconcile       runs the parts, one after the other
    changed         what may have changed, so that a part looks at nothing else
    difference      what a part finds, and what became of it

A part is a module with two functions. It is in `reconcile.PARTS`.

    compare(host, changed)      what differs: takes no lock and writes nothing
    repair(host, difference)    takes the locks that a request takes, looks again, puts it right, and says what was done

    modes              folders and files of ours that any user may write to
    docker_endpoints   Docker's endpoints whose container is gone
    networks           the links of networks: bridges, with their addresses, routes, state and MTU
    endpoints          the host's ends of endpoints: on their bridge, up, with their addresses and routes
    leases             lease files of addresses that are on record
    packet_filter      rules and elements of our tables, and the accepts in other programs' firewalls
    overlaps           subnets that the host has, too: only said

`gone_namespaces` is no part: what it finds is taken down when it has been so for some minutes.

Only what is shown to be ours is changed: what a record names, and what the program itself makes under that name.
"""
