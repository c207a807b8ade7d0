"""The read-only web view of the store."""
