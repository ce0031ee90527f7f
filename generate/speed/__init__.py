"""How fast the generator and AttrOP are."""
