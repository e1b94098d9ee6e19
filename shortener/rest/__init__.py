"""The REST gateway: routes, JSON, problem documents, OpenAPI. Knows no module of the domain."""
