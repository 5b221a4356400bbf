"""The resident service: the CNI door kept warm behind a unix socket.

    protocol    what a relay (build/relay.c) and the service say to each other
    activation  the listening socket, from systemd or of our own; readiness
    lanes       which thread runs a request: one endpoint in order, others beside it, STATUS apart
    door        one request: whose it is, its namespaces, the engine, the answer
    trace       what took how long
    reaper      deletions of many links gathered into one kernel request
    server      accepts, reads, hands on; stops without cutting anything off

It holds nothing that is not on disk too: killed at any moment it loses nothing, and the relay goes on
without it.
"""
