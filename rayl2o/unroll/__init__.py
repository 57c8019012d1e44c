"""Runs rules on batches of tasks; says who acts; returns segments. Pure PyTorch, no I/O."""
