"""The click journal: clicks in append-only files until they are stored."""
