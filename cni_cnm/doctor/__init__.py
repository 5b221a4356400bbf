"""What is wrong with this host and its endpoints, why it matters, and the command that repairs it.

    diagnose     runs the checks, and repairs what is safe to repair
    picture      the host as it was read once: records, links, addresses, routes, elements, files
    seen_stack   a Stack that answers from this reading, so that the engine's own comparisons read nothing again
    seen_store   the same for records
    seen_nft     the same for our tables
    aside        half of the checks in a second process, on a host with many endpoints
    finding      what a check finds, and what it could not look at
    commands     commands for people, quoted for a shell
    checks/      a module for each check

A check is a module with one function, or two. It is in `diagnose.CHECKS`.

    look(picture)         findings, and what could not be looked at. Writes nothing. Locks an endpoint to look again
    fix(host, finding)    for findings that are `safe`: looks again, repairs it, and says what was done

What `cni-cnm repair` puts right is compared by the functions of `cnm/reconcile/`, and repaired there.
"""
