"""Result cards in, tables as Markdown, HTML and CSV out; nothing here trains or embeds.

A module imports only modules of this package that stand before it in this list: protocol_names; read, published;
estimates; rows; tables; template_tables; cells, figures; people_tables; page; write; publish. ``difference`` compares
two results and imports none of them. Of the rest of evaluate, the package may import measure, metrics, pages and
test_sets.registry.
"""
