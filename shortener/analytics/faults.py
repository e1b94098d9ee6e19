"""What can be wrong with this module's files when the server starts."""


class DataFileError(Exception):
    """A key, journal or geo data file cannot be used. `message` is one line for the operator."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
