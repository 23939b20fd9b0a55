"""Native TensorRT, 10.3 to 11.4, from one code path. Needs `tensorrt` and `cuda-python`, no torch. Not run on a GPU."""
