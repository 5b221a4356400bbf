"""The checks, a module each. What a check is: cni_cnm/doctor/__init__.py."""
