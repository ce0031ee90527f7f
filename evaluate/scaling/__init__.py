"""Accuracies of many settings, compared. In: the plan of a sweep and its results. Out: table, figures, fits and page.

May import bench, evaluate.measure, evaluate.pages, and of the leaderboard the published rows and the protocols' names.
"""
