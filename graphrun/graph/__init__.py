"""The graph: operations, tensors, scopes, and the registry of what operations are."""
