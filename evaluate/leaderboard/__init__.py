"""Result cards in, tables as Markdown, HTML and CSV out; nothing here trains or embeds.

Imports go one way: protocol_names < read, published < estimates < rows < tables < template_tables < cells, figures <
page < write < publish. Beside these, the package may import evaluate.measure, evaluate.metrics, evaluate.svg,
evaluate.pages and evaluate.test_sets.registry.
"""
