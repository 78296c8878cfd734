"""Plan functions of the hand-written kernels: from shapes and attributes to launches."""
