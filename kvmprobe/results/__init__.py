"""What came out: verdicts, records and their JSON.  Layer: results, pure."""
