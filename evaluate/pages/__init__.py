"""Templates of the HTML pages (Jinja), the function that fills them, and plots as inline SVG.

In: values. Out: a page as text. May import ``bench``; leaderboard, audit and scaling import it.
"""
