"""The Docker door: this host's networks as a network and IPAM plugin of dockerd.

    server           HTTP over the plugin socket: whatever comes, a JSON answer; nothing is asked of Docker in return
    request          reading requests, bounded in bytes and in time
    calls            the table of calls, and how an error is said
    network_driver   NetworkDriver: a message in, the engine's steps, a message out
    ipam_driver      IpamDriver: the same for pools and addresses

Docker replays nothing: what it has asked for is on record (cnm/docker/docker_networks.py), so both sides may restart
at any time.
"""
