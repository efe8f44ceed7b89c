"""Clusters the weights of a float `.tflite` file without training."""
