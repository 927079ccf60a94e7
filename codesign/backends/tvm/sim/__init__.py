"""The cost of an aarch64 executable on a core that is not there: instructions, cycles, cache misses, per function.

plugin/     a QEMU plugin: executions of every block of code, who follows whom, a cache hierarchy fed by every access
trace.py    runs QEMU with the plugin and reads what it wrote
mca.py      cycles of a block's instructions on a core's pipeline, by LLVM's scheduling models
model.py    puts these together: `simulate(executable, cpu) -> Profile`
"""
