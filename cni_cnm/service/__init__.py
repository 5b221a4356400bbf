"""The resident service: the CNI frontend, kept loaded behind a unix socket, in several processes.

    activation      the listening sockets, from systemd or its own; readiness
    processes       which processes there are, and what each does
    supervisor      starts, restarts and stops them
    lingering       a service that a call has left behind: whom it answers
    shared_page     memory that they share
    server          a worker: accepts connections, reads requests, sends answers
    places          the threads of a worker
    slow_requests   requests that do not come at once
    protocol        the messages between a relay (build/relay.c) and the service
    handler         one request: its caller, its namespaces, the engine, the answer
    host_stack      the host's namespace, its socket kept between requests
    deletions       asks the link deleter
    link_deleter    simultaneous deletions of links in one kernel request
    reconcile_watch keeps the host as the records say
    host_events     networks, full pools and other firewalls that an operator should know of
    node_events     tells Kubernetes what there is to say of its Node
    trace           times of the steps of a request

All state is on disk too. A service that is killed loses nothing, and relays then execute the full program.
"""
