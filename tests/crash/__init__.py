"""Real processes, really killed; the model checker in model/ does the same on a simulated disk."""
