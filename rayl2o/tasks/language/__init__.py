"""Text: character models, and BERT on sentences."""
