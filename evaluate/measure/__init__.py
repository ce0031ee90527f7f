"""One network on test sets -> accuracies with their uncertainty, and whether two networks differ.

Imports ``evaluate.metrics``, ``evaluate.protocol``, ``evaluate.layouts``, ``evaluate.test_sets.registry``,
``evaluate.test_sets.open`` and ``fr_train.checkpoint``; never the leaderboard. Only the two modules ``report`` import
``evaluate.pages``.
"""
