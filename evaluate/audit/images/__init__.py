"""Images of a face dataset -> a table row per image, and which images are copies of others."""
