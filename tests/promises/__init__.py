"""Tests of the promises in docs/reliability.md. Quick forms run by default, long forms with `--torture`."""
