"""What keeps a backup from being made or put back."""


class VaultError(Exception):
    """It cannot be done. `message` is one line for the operator."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
