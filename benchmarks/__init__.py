"""One script per published figure; each prints a ratio against a named rival in the same run."""
