"""The nano emotion models: face student, speech student and their fusion. onnxruntime only."""
