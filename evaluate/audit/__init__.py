"""A face dataset in; a card, an HTML page and tables that describe it out.

Imports go one way: source < images < embeddings; the package identities stands alone; above them colour,
sections and the packages quality and privacy < page < run < stage. Beside these, the package may import
evaluate.measure.embed, evaluate.metrics, evaluate.protocol, evaluate.layouts and evaluate.pages, and of
evaluate.leaderboard only the table of published rows.
"""
