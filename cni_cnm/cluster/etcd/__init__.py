"""etcd as the directory of a cluster, by the JSON gateway that every etcd server has (etcd 3.4 and later).

directory.py    the calls of the contract (cluster/directory.py), each one in the file of its noun:
hosts.py  life.py  networks.py  blocks.py  watch.py
listing.py      all keys, a page at a time
contents.py     what they say, first whole, then change by change (taken.py: which networks clash)
operations.py   parts of a request and of an answer
keys.py         what is stored where
client.py       one request: several servers, the user's token, what an answer means
connection.py   one connection: TLS, time limits
"""
