"""Recognition networks: a face dataset and a recipe in, a trained network out.

``fr_train.trainer.train.train`` trains a network and ``fr_train.checkpoint.load_backbone`` loads one. May import
``bench``. ``generate`` and ``evaluate`` import ``fr_train.checkpoint`` alone.
"""
