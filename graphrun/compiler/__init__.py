"""From what is fetched to a plan: an ordered list of passes over a program (see `pipeline`)."""
