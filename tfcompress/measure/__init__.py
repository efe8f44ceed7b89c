"""Accuracy, bytes, latency and memory of `.tflite` files on LiteRT; TensorFlow is not needed."""
