"""The Kubernetes API as the directory of a cluster: Nodes are hosts, their podCIDRs are blocks.

directory.py    the calls of the contract (cluster/directory.py)
own_node.py     what is read and written of one Node
node_events.py  what `kubectl describe node` shows of this host
watch.py        the changes of Nodes
listing.py      all Nodes, a page at a time
json_items.py   the items of a list in JSON, one by one
contents.py     what they say, first whole, then change by change
claims.py       which Nodes claim the same address, MAC or block
nodes.py        one Node, as far as it is believed
announcement.py what a host says of itself: one annotation of its Node
client.py       one request: the time limit, what an answer means
failure.py      an answer that is an error
credentials.py  as whom the API is asked: the service account of the pod, or
kubeconfig.py   a kubeconfig
access.py       where the API is, and how it is asked

The rights that are needed: get, list and watch of nodes, patch of nodes/status. For events, create and
patch of events in the namespace default; without them there are none.
"""
