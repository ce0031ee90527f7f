"""One network on one test set, with its uncertainty."""
