"""A trained network in, files for others out: ONNX, safetensors, model card."""
