"""Control flow: branches, loops, and what is built on them."""
