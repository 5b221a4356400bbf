"""Finding endpoints by what an operator knows of them, and the name of the container to show.

endpoint_names.py    the pod's or container's name, also of Docker's containers
endpoints.py         by pod, container, address, published port, interface, MAC or id
"""
