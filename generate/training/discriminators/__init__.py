"""Discriminators of generator trainings: images -> logits that say real or generated."""
