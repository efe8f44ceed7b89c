"""Data sets: three fixed splits each."""
