"""Visits the states of the model on a real kernel, by machines that fork."""
