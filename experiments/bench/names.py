"""What ``sepnas bench`` can measure; imports nothing, as the command's help needs it."""

BENCHMARKS = {
    "cost": "architectures costed a second, beside NNI's profiler",
    "budget": "uniform draws inside a tight budget, exact in-budget argmax",
    "step": "sampled-path and gdas steps, beside stand-alone training",
    "darts": "full-mixture DARTS, time and memory, beside NNI's",
    "retrain": "training, input pipeline, precision and memory, beside bare PyTorch; roofline",
}
