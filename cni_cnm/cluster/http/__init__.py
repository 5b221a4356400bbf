"""HTTP to the servers of a store, as its standard library has it, with what that lacks.

connection.py   one connection: a time limit for each whole request, and the lines of an answer that does not end
endpoint.py     the address of a server
tls.py          certificates, read again when their files change
"""
