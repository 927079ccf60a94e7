"""Runs inside QEMU, in the root that aarch64_root.py makes: one network in LiteRT, onnxruntime or ncnn, one thread.

Usage: aarch64_guest.py MODEL INFERENCES. Tells the simulator's plugin (prctl, see its control.h) to warm the
caches with one inference and to count the INFERENCES after it, and prints a line of what ran.
"""

import ctypes
import sys

import numpy as np

CONTROL, OFF, WARM, COUNT = 0x43445350, 0, 1, 2
control = ctypes.CDLL(None).prctl


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    source = np.random.default_rng(1)
    for entry in interpreter.get_input_details():
        interpreter.set_tensor(entry["index"], values(source, entry["shape"], entry["dtype"]))
    return interpreter.invoke


def onnxruntime(path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(int32)": np.int32}
    source = np.random.default_rng(1)
    binding = session.io_binding()
    for entry in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in entry.shape]
        binding.bind_cpu_input(entry.name, values(source, shape, kinds[entry.type]))
    for entry in session.get_outputs():
        binding.bind_output(entry.name)
    return lambda: session.run_with_iobinding(binding)


def ncnn(path):
    """A .param with the .bin beside it."""
    import ncnn as library

    net = library.Net()
    net.opt.num_threads = 1
    net.load_param(path)
    net.load_model(path.removesuffix(".param") + ".bin")
    image = library.Mat(224, 224, 3)
    image.fill(0.01)

    def run():
        extractor = net.create_extractor()
        extractor.input("data", image)
        extractor.extract("prob")

    return run


def values(source, shape, kind):
    if np.issubdtype(kind, np.integer):
        info = np.iinfo(kind)
        return source.integers(info.min, info.max, shape, endpoint=True).astype(kind)
    return source.standard_normal(shape).astype(kind)


path, inferences = sys.argv[1], int(sys.argv[2])
run = {"tflite": litert, "onnx": onnxruntime, "param": ncnn}[path.rpartition(".")[2]](path)
run()
control(CONTROL, WARM)
run()
control(CONTROL, COUNT)
for _ in range(inferences):
    run()
control(CONTROL, OFF)
print("ran", path, inferences)
