"""Templates of the HTML pages (Jinja), the function that fills them, and plots as inline SVG.

In: values. Out: a page as text. May import ``bench``. Leaderboard, audit, scaling and the two reports of measure import
it.
"""
