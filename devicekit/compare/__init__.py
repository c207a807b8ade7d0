"""Compares .tflite files and output folders side by side, against the first of them."""
