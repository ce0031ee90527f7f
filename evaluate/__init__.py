"""A recognition network in, a result and a leaderboard row out."""
