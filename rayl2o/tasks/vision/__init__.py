"""Convolutional networks, from those of paper T to ResNets."""
