"""What operators see: the overview, the place of one record, and the metrics."""
