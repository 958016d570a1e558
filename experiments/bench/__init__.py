"""Speed on this machine, as ratios of things measured in turn within one run.

Imports nothing, as the command's help needs it.
"""

#: What ``sepnas bench`` can measure, and with what it is compared.
BENCHMARKS = {
    "cost": "architectures costed per second, beside NNI's profiler",
    "budget": "uniform draws inside a tight budget, exact in-budget argmax",
    "step": "sampled-path and gdas steps, beside stand-alone training",
    "darts": "full-mixture DARTS, time and memory, beside NNI's",
    "retrain": "training, input pipeline, precision and memory, beside bare PyTorch",
}
