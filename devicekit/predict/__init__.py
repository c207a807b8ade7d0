"""What a .tflite will need and take on a profile's device, from the file alone: memory, latency."""
