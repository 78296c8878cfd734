"""The same work in graphrun and in its peers: what `peers.py`, `first_run.py` and `memory.py` share."""
