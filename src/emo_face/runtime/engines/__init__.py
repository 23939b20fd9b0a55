"""What models run on: onnxruntime, native TensorRT and torch behind one protocol, chosen by one parameter."""
