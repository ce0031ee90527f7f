"""The trainer: a face dataset and a recipe in, a trained recognition network out.

May import ``bench`` and, of ``fr_train``, the backbone, the margins, the checkpoint and the networks.
"""
