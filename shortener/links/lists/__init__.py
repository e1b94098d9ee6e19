"""Lists that an operator keeps: blocked hosts and quarantined codes."""
