"""Taking over pretrained weights: Hugging Face folders and keras-nlp."""
