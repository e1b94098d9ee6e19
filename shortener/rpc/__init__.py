"""Wire plumbing: what every edge shares. Knows no module of the domain."""
