"""Which files go into which mini-batches, frozen and encoded."""
