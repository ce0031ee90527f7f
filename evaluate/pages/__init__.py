"""Jinja templates of the HTML pages, and the one function that fills them."""
