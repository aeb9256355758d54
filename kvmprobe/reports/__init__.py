"""Records as people and programs read them.  Layer: reports; asks no kernel anything."""
