"""The built-in transformers, and the conversion of a user's own model to a form that can be compressed."""
