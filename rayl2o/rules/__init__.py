"""Every update rule: classic, learned, symbolic; one protocol."""
