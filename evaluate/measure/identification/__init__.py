"""Embeddings of galleries and probes -> ranks and scores of searches, and identification rates of ISO/IEC 19795-1."""
