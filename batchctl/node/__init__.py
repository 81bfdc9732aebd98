"""What this machine is (`probe`: /proc, /sys, the NVIDIA driver) and what it bears (`sizing`, `pinning`: pure)."""
