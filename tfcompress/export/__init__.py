"""From a tf_keras model to a verified `.tflite` flatbuffer."""
