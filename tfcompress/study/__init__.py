"""What a model can take, found out before a recipe is written."""
