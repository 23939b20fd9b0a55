"""The fixtures of the fake GPU."""

from fake_gpu import cache, one_world, onnx_file, world  # noqa: F401
