"""What runs in the conversion child only: it loads models, and TensorFlow with them."""
