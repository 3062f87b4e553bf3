"""What several rooms stand on: values by themselves, values by channel, rows of values, tiles of matrix products."""
