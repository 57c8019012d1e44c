"""A segment as Arrow: schema and store."""
