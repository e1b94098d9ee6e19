"""Accounts: who may own links. Importing this face pulls in no framework."""

from shortener.accounts.model import Account
from shortener.accounts.ports import AccountStore, Claims, SignedIn
from shortener.accounts.service import AccountService

__all__ = ["Account", "AccountService", "AccountStore", "Claims", "SignedIn"]
