"""Faults put into every step of every call: an error of the kernel or of a disk, or the end of the process.

    memory_faults    the kernel and the store in memory; call number n fails, or ends the process
    system_calls     the built program under `strace --inject`; system call number n fails, or ends the process
    judgement        what must hold after a fault

`python -m tests.faults` prints a table for the built program.
"""
