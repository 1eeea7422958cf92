"""Predicting on new folders: one row a file, traced by its path, good or bad."""
