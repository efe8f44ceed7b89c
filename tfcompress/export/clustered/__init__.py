"""Packed files (docs/format.md): `packer` makes one of a stock `.tflite`, `unpacker` gives a stock one back."""
