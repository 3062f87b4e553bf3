"""Functions of single values, and Softmax, which turns a column of them into probabilities."""
