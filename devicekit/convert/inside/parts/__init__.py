"""Modules that are written beside a .tflite, for what runs outside it: standard library and numpy only."""
