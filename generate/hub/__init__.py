"""Files from and for the Hugging Face Hub: released weights, their provenance, dataset cards, uploads, shipping."""
