"""Files of the field -> faces, labels, pairs and landmarks. One module per layout; imports only ``bench``."""
