"""The CNI frontend: environment and JSON in, calls of the engine, one JSON object out. CNI 0.1.0 to 1.1.0.

versions      which versions there are, what each allows, the answer to VERSION
environ       CNI_* variables: which a verb needs, what they may look like
document      the configuration on stdin: JSON as Go reads it
conventions   what a runtime requests for one endpoint: CNI_ARGS, `args.cni`, `runtimeConfig`
request       configuration and environment into NetworkSpec, EndpointSpec, EndpointKey
invocation    one call with its configuration, as a verb is given it
engine        what this frontend needs of the CNM engine
result        an Attachment as the result object of every version, and back
reply         exit code, stdout, stderr, and the error object
plugin        the verbs: each validates everything, then acts
loopback      the same for the plugin of that name
"""
