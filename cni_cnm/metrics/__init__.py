"""Metrics of this host in Prometheus' form. Shown by the service's process for metrics (service/metrics_server.py).

    requests    what the processes of the service have counted
    host        networks, endpoints, addresses, drops, and the cluster, as they are now
    encoding    both as text, in the form that a scraper requests

Labels are network, verb, code, driver, reason and a few words of ours: never a pod, a container or an address. So the
number of series does not grow with pods.
"""
