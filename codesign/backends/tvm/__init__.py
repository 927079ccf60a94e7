"""ARM and x86 processors: kernels scheduled with TVM, exact under emulation, their cost simulated."""
