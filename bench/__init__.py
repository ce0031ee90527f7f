"""What the stages share: configuration, faces on disk, cards, tracking, runtime."""
