"""The methods, one module for each family; caffepy.saliency.method says what they have in common."""
