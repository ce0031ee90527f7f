"""Embeddings of people who belong to groups -> errors by group at one threshold, and how unequal they are."""
