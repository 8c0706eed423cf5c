"""Assignment and statistics of experiments: pure, sums in and results out."""
