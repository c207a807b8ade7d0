"""Twelve models made bad on purpose: in one channel, in a range, in an index, in labels."""
