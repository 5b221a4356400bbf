"""What a report of a fault needs, in one archive, and nothing that is a secret.

    parts      the parts of the archive: each a JSON value that is made of named fields alone
    log_lines  lines of the log without their texts
    archive    writes the parts into a file that only its owner can read

Nothing is copied as it is: a part names each field that it has. So no part has environments, arguments, labels, values
of options, kubeconfigs, passwords, names of pods, or texts of errors, which quote what was given. Addresses, and the
rules of other programs, are in it only on request.
"""
