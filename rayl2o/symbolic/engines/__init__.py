"""Engines of symbolic regression, all behind the interface of ``base.py``."""
