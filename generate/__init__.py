"""Settings in, a face dataset out.

May import ``bench`` and ``fr_train.checkpoint``. Other packages import nothing of it, except ``evaluate.__main__`` (its
estimators and the groups of rendered people) and ``bench.speed`` (its measurements).
"""
