"""What a `.tflite` file contains, in figures."""
