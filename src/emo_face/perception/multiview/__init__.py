"""Multi-view emotion recognition: InstructBLIP reads scene, body and face; a light head gives calibrated scores.

Nothing here imports torch until a torch model is asked for; the exported graphs run on onnxruntime alone.
"""
