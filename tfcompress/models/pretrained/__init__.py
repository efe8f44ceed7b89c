"""Loads pretrained weights from Hugging Face checkpoints and keras-nlp presets."""
