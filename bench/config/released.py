"""The released recipes of benchmarks.yaml: results of these form the closed division of the leaderboard.

A recipe that is new in benchmarks.yaml, or was edited there, does not count as released. Add its hash here when it is.
"""

RELEASED_RECIPES = {
    "hsface_arcface": "36a1285db9a1b6f3999e6fca00b8d751c33318a306339047b1627ba02caf1b42",
    "smoke_arcface": "9aa1c8bc6ae9c391476b855abd48819938232469e0ee6beebb050ce29899f0ab",
    "mini_arcface": "73616beeced68534dd1126e4cb78694d0f14fa0917b491313b3b87d0cbaa1ded",
    "sdfr_arcface": "fe749a539d438f1b0ac54c0da48fa5fbd92aff3a357901462c246dcf993b7358",
    "small_arcface": "7482fb2c0cb6c0f6692c356983327e3580d66706446b7be90d05a37d76ca9698",
}
"""Name -> SHA-256 of its settings (``bench.runs.fingerprints.recipe_sha256``)."""
