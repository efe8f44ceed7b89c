"""Studies of what a model tolerates, before a recipe is written."""
