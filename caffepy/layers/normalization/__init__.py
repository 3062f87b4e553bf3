"""Values brought to a common size, by statistics of the batch, of a channel or of their neighbours."""
