"""Data sets for classification, each with fixed training, validation and test splits."""
