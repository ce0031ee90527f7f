"""A generator and faces with landmark pictures -> the pose model of Vec2Face+: ``generate train-pose``.

May import what ``generate.training`` may.
"""
