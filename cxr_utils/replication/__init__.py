"""What was published, beside what comes out here: the grid of runs, its ledger, the claims and their verdicts."""
