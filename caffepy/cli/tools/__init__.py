"""What Caffe has in its folders tools and tools/extra: databases, features, logs, old formats."""
