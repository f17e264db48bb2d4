"""The only async part of the core: it performs effects and appends what came of them."""
