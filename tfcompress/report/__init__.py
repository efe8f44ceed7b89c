"""What was found: of a run as JSON, of runs, comparisons and files as tables, of runs and comparisons as a page."""
