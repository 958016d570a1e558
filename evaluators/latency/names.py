"""Names of what runs a network whose time is measured. Imports no torch, as helps list them."""

PYTORCH_CPU, ONNX_CPU, CUDA = BACKENDS = ("pytorch-cpu", "onnx-cpu", "cuda")
