"""A face dataset in; a card, an HTML page and tables that describe it out.

A module imports only modules before it in this list: source; images; embeddings; identities; makeup, colour, sections,
quality, privacy; page; run; stage, scale. The package identities imports none of the others. Beside these, the package
may import evaluate.measure.embed, evaluate.metrics, evaluate.protocol, evaluate.layouts, evaluate.pages and
fr_train.checkpoint, and of evaluate.leaderboard only the table of published rows.
"""
