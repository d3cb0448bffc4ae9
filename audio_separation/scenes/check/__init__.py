"""What is missing, corrupt or inconsistent in a data tree: one module a part, each a function to findings."""
