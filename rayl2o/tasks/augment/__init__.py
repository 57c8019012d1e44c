"""Augmentations: wrappers that make other tasks of a task. One per module; `augmented` composes them into a family."""
