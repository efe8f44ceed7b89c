"""What a `.tflite` holds, in figures."""
