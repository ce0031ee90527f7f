"""A recognition network in, a result and a leaderboard row out; a face dataset in, its audit out.

May import ``bench`` and ``fr_train.checkpoint``; ``evaluate.__main__`` alone imports from ``generate`` (estimators and
groups of rendered people). Other packages import nothing of it, except ``fr_train.__main__`` (the validation during
training) and ``bench.speed`` (its measurements).
"""
