"""Where workers live: the pool of slots and what drives it."""
