"""A trained network in; ONNX, safetensors and a model card for the Hugging Face Hub out.

May import ``bench`` and ``fr_train.checkpoint``.
"""
