"""Many vectors against many others: nearest centres, and which vectors stay apart."""
