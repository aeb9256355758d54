"""Reports of records, for people and for programs.  Layer: reports; makes no kernel call."""
