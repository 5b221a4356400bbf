"""etcd as the directory of a cluster, by the JSON gateway that every etcd server has (etcd 3.4 and later).

directory.py    the calls of the contract (cluster/directory.py), each one in the file of its noun:
hosts.py  life.py  networks.py  blocks.py  reading.py  watch.py
keys.py         what is stored where
client.py       one request: several servers, the user's token, what an answer means
connection.py   one connection: TLS, time limits
"""
