"""A label for each pixel: refined by a random field, measured, trained."""
