"""Recognition networks other than IResNet, and what the networks share."""
