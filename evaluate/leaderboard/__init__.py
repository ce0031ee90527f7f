"""Result cards in, tables, page and CSV out."""
