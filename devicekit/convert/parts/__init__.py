"""Code that is written beside a .tflite, whole: what runs outside the model. Standard library and numpy only."""
