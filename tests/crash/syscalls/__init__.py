"""Every system call of the coordinator that touches a run, as a place to die or to fail."""
