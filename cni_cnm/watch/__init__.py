"""What happens on this host, seen from time to time: who joins and leaves, how much is sent, what is dropped.

sample     what there is at one moment
compare    what has happened between two moments
"""
