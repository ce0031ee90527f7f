"""A face dataset in, a card and a page of what it is like out."""
