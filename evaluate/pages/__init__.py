"""Templates of the HTML pages (Jinja), the function that fills them, and plots as SVG.

In: values. Out: a page or a plot as text. May import ``bench``; the leaderboard and the audit import it.
"""
