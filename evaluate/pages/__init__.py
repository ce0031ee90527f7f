"""Templates of the HTML pages (Jinja), and the function that fills them.

In: values. Out: a page as text. May import ``bench``; the leaderboard and the audit import it.
"""
