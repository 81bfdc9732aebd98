"""The packaged file and what it unpacks, as they are looked at from inside: reading, checking, clearing away."""
