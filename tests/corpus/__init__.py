"""Real prototxts, of Caffe and its forks, built as they are."""
