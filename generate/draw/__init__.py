"""Identity vectors in, a face dataset drawn by Vec2Face out."""
