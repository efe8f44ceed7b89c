"""The `.tflite` file itself: its graph, reading and writing it, and what it carries beside the graph."""
