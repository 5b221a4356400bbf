"""The name service of a network: which names there are, where they are written, and the server that answers them.

RUN_DIR-names/                     /run/cni-cnm-names, beside RUN_DIR: the server's group may read it
RUN_DIR-names/NETWORK/             the hosts files (hosts(5)) of one network, one for each endpoint
RUN_DIR-names/NETWORK/ENDPOINT     its addresses and names
RUN_DIR-names/NETWORK/.server      pid of the server that has answered last
RUN_DIR-names/NETWORK/.log         what it said when it started

The server is dnsmasq, one process for each network. It watches the folder (inotify) and reads what has changed before
it answers the next question. So an ADD or a DEL, with or without the service, changes the answers at once. It does not
read files whose names begin with a dot.
"""
