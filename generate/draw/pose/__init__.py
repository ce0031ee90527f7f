"""Images with a pose: landmark pictures that Vec2Face+ draws by, vectors that state a yaw, and images that are rotated.

In: settings, identity vectors, or drawn images. Out: landmark pictures by number, vectors, or rotated images. May
import what ``generate.draw`` may.
"""
