"""Sessions on a fleet: who dispatches their turns, and the workers that do them."""
