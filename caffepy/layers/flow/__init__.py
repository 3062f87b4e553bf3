"""Motion between two images: correlations, warps and lengths of flow vectors."""
