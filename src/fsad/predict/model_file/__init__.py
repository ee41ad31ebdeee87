"""The exported model file: what it says of itself, and whether it is whole."""
