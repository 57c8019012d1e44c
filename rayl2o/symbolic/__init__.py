"""From a learned rule to a formula: table, linear engine, guards, front, metrics, selection, fine-tuning."""
