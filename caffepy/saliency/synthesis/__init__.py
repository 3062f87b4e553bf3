"""Images made by a net: one loop of gradient ascent, and the objectives that it climbs."""
