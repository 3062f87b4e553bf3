"""Learned weights that meet all of their input, and what regularises them: products, tables, scales, Dropout."""
