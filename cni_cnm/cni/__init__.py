"""The CNI door: environment and JSON in, the engine's verbs, one JSON object out. CNI 0.1.0 to 1.1.0.

versions      which versions there are, what each allows, the answer to VERSION
environ       CNI_* variables: which a verb needs, what they may look like
document      the configuration on stdin: JSON as Go reads it, typed reading with the key in every refusal
conventions   what a runtime asks for one endpoint: CNI_ARGS, `args.cni`, `runtimeConfig`
request       configuration and environment into NetworkSpec, EndpointSpec, EndpointKey
engine        what is asked of the CNM engine
result        Attachment to and from the result object of every version
reply         exit code, stdout, stderr, and the error object
plugin        the verbs, in the order validate, refuse, act
loopback      the same for the plugin of that name
"""
