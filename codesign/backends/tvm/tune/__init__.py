"""Auto-scheduling: kernels that are tried out, bit-exact or rejected, the best of them kept for every network.

golden.py        what a task must compute, and its inputs and outputs as they lie in memory
jobs.py          what is compiled, and what became of it
worker.py        the process that candidates are compiled in; pool.py: several of them, started again when one crashes
measure.py       a batch of candidates: compiled, compared on every bit, timed or simulated
records.py       lines of JSON in files that processes share
store.py         what was tried on a core, found again by what determines a kernel
ranking.py       which choice is likely to be fast, learned from those that were measured
kernels.py       what is known of one kernel: its choices, and which to try next
budget.py        when a search stops, and what it found
search.py        all tasks of a network within a budget
metaschedule.py  TVM's own search for what is left of the budget: proposals.py, in the process of metaschedule_worker.py
"""
