"""One run of a recipe, from its data to its report."""
