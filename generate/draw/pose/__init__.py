"""Images with a pose: landmark pictures that Vec2Face+ draws by, and drawn images that are rotated on a mean 3D head.

In: settings, or drawn images. Out: landmark pictures by number, or rotated images. May import what ``generate.draw``
may.
"""
