"""An open challenge: released networks, challenge files, and the rules of cards that others submit.

In: networks, unlabelled pairs, result cards. Out: results of released networks with their difference to the printed
ones, the file of a challenge's server, and the findings on a card or a pull request. May import bench,
evaluate.measure, evaluate.leaderboard, evaluate.layouts, evaluate.protocol, evaluate.test_sets and evaluate.stage.
"""
