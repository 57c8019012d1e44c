"""Fair comparison: runner, tuned baselines, statistics, report."""
