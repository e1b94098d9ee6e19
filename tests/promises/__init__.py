"""What the service promises, tested the hard way. Quick forms run by default, long ones with `--torture`."""
