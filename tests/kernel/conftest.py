from tests.kernel.lab import lab

__all__ = ["lab"]
