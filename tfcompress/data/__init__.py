"""Data sets: three fixed splits each."""

from tfcompress.data.dataset import Dataset

__all__ = ["Dataset"]
