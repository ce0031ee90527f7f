"""Files of the field in, faces, pairs and landmarks out."""
