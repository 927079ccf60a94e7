"""What a user of a processor gets: libraries, a self-test, and their execution.

program.py  a plan and its kernels as tables: steps, addresses, borders, constants
tables.py   the tables as text that the C files of app/ include
ports.py    inputs and outputs: what the tensors hold, for the header, for C and for programs
write.py    `write_deliverable`: all files, compiled
run.py      `execute` and `measure`: on this machine, in QEMU, or on a board
"""
