"""What training makes small, and Accuracy, which is measured beside it."""
