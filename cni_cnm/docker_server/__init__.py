"""The Docker frontend: this host's networks as a network and IPAM plugin of dockerd.

    server           HTTP on the plugin socket; every request gets a JSON answer
    request          reads a request, limited in bytes and in time
    calls            the table of calls, and the body of an error
    network_driver   NetworkDriver's calls as steps of the engine
    network_spec     CreateNetwork as a network of the engine
    ipam_driver      IpamDriver's calls as steps of the engine

    docker_watch     every 30 s: what Docker removed without a call that arrived
    container_names  asks Docker for names of containers, for the name service
    port_holder      keeps the host ports of containers from processes of the host
    docker_api       asks Docker, for docker_watch and the command line only

Docker repeats no call, so what it has requested is recorded (cnm/docker/), and both sides
may be restarted at any time.
"""
