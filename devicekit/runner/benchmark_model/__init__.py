"""The runner of the vendor's native tool, for Android and boards without Python. Two tools share its name."""
