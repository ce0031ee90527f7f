"""Files from and for others: released weights, provenance, dataset cards, exported generators, uploads to the Hub.

In: names of released files, weight files, cards. Out: local files, README.md, uploads. May import ``bench``.
"""
