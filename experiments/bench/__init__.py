"""Speed on this machine, as ratios of things measured in turn within one run."""
