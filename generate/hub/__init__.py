"""What comes from the Hugging Face Hub and what goes there: weights, provenance, dataset cards."""
