"""Mali GPUs: OpenCL kernels scheduled with TVM, chosen by an analytical model, exact under PoCL."""
