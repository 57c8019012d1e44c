"""Studies: named arms trained over meta-seeds and scored on the same fresh tasks, resumable, with table and figure."""
