"""Tensors in, tensors out: the mathematics, without parameters, state or Lightning."""
