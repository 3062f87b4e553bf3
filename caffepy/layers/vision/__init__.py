"""A window slides over an image: convolution and pooling in their forms; and images cut, padded and resized."""
