"""NumPy functions of the larger operations; each is the reference for every device."""
