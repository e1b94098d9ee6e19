"""Where links and analytics meet a browser: the redirect server."""
