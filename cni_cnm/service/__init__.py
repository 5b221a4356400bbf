"""The resident service: the CNI frontend, kept loaded behind a unix socket.

    activation      the listening sockets, from systemd or its own; readiness
    server          accepts connections, reads requests, sends answers, stops
    protocol        the messages between a relay (build/relay.c) and the service
    keyed_executor  runs requests on threads: those of one endpoint in order
    handler         one request: its caller, its namespaces, the engine, the answer
    host_stack      the host's namespace, its socket kept between requests
    link_deleter    simultaneous deletions of links in one kernel request
    reconcile_watch  puts right what another program changes of networks and the packet filter
    trace           times of the steps of a request

All state is on disk too. A service that is killed loses nothing, and relays then execute the full program.
"""
