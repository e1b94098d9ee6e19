"""What an account is, and every rule about its parts (contract, UserService)."""

import re
import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from shortener import errors

EMAIL_LENGTH_MAX = 254
NAME_LENGTH_MAX = 200
PASSWORD_LENGTH_MIN = 6
PASSWORD_LENGTH_MAX = 1024
ACCOUNT_ID_MAX = 2**63 - 1
PAGE_LIMIT_DEFAULT = 20
PAGE_LIMIT_MAX = 1000

_USERNAME = re.compile(r"[A-Za-z0-9_.-]{3,32}")
_ACCOUNT_ID = re.compile(r"[1-9][0-9]{0,18}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # JSON can spell halves of surrogate pairs; they have no UTF-8 form

# Control characters, line and paragraph separators, and halves of surrogate pairs.
_UNPRINTABLE = frozenset({"Cc", "Zl", "Zp", "Cs"})


@dataclass(frozen=True, slots=True)
class Account:
    """A registered person. Times are Unix seconds; `username` is empty when none was chosen.

    Tokens are valid while they carry the account's `token_version`, which each change of the password raises; it is 0
    before the first. The password's hash is not part of it, so that no answer and no log line can hold one by accident.
    """

    id: int
    email: str
    username: str
    name: str
    created_at: int
    updated_at: int
    token_version: int = 0


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account about to be stored; every field is already checked."""

    email: str
    username: str
    name: str
    password_hash: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login is checked against."""

    account: Account
    password_hash: str


def parse_email(text: str) -> str:
    """Return the address in its normal form: the local part in NFC, the domain lower-case and in Unicode.

    No DNS is asked. Names under `.test` are accepted, and so are internationalised addresses; quoted local parts,
    address literals, domains without a dot and other special-use domains (`.local`, `.invalid`) are not.
    Raises `errors.Invalid`.
    """
    errors.require(text, "email", "is required")
    errors.require(len(text) <= EMAIL_LENGTH_MAX, "email", f"must have at most {EMAIL_LENGTH_MAX} characters")
    try:
        email = validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        email = ""
    # The library accepts the bare domain `test`, which nothing but a test of mail servers uses. The normal form of
    # an internationalised address may be longer than what was sent, and it is what is kept.
    is_kept = "." in email.rpartition("@")[2] and len(email) <= EMAIL_LENGTH_MAX
    errors.require(is_kept, "email", "must be an address such as name@example.com")
    return email


def email_key(email: str) -> str:
    """Return what two spellings of one address have in common; `email` comes from `parse_email`.

    The local part is compared without regard to case. The domain is already canonical, and folding it would make
    two domains of different people one (`straße.de`, `strasse.de`).
    """
    local_part, _, domain = email.rpartition("@")
    return f"{unicodedata.normalize('NFC', local_part.casefold())}@{domain}"


def parse_username(text: str) -> str:
    """Return the username as it was sent. Raises `errors.Invalid`."""
    errors.require(text, "username", "is required")
    errors.require(_USERNAME.fullmatch(text), "username", "must be 3 to 32 of A-Z a-z 0-9 _ . -")
    return text


def username_key(username: str) -> str:
    """Return what two spellings of one username have in common; `username` comes from `parse_username`."""
    return username.lower()


def parse_name(text: str) -> str:
    """Return the name without surrounding blanks: 1 to 200 characters, none of them a control character.

    Raises `errors.Invalid`.
    """
    errors.require(len(text) <= NAME_LENGTH_MAX, "name", f"must have at most {NAME_LENGTH_MAX} characters")
    is_printable = all(unicodedata.category(character) not in _UNPRINTABLE for character in text)
    errors.require(is_printable, "name", "must not contain control characters")
    name = text.strip()
    errors.require(name, "name", "is required")
    return name


def parse_password(text: str, field: str = "password") -> str:
    """Return a new password ready to be hashed: 6 to 1,024 characters of any kind, in NFC (RFC 8265 section 4.2).

    The normal form makes one password out of what different keyboards send for the same characters. The length is
    that of the text as sent. Raises `errors.Invalid` naming `field`.
    """
    errors.require(text, field, "is required")
    errors.require(len(text) >= PASSWORD_LENGTH_MIN, field, f"must have at least {PASSWORD_LENGTH_MIN} characters")
    errors.require(len(text) <= PASSWORD_LENGTH_MAX, field, f"must have at most {PASSWORD_LENGTH_MAX} characters")
    errors.require(not _SURROGATE.search(text), field, "must be valid Unicode text")
    return unicodedata.normalize("NFC", text)


def parse_account_id(text: str) -> int:
    """Return the id that `text` spells in decimal, without sign or leading zeros. Raises `errors.Invalid`."""
    if _ACCOUNT_ID.fullmatch(text) and (account_id := int(text)) <= ACCOUNT_ID_MAX:
        return account_id
    raise errors.Invalid("user_id must be a positive decimal number", field="user_id")


def next_token_version(current: int, now: int) -> int:
    """Return the version that ends all tokens of `current`.

    It is the time of the change, unless that came in the same second or clocks went back. So no version comes again
    after a backup was restored, and tokens that ended before stay ended.
    """
    return max(current + 1, now)


def check_account_id(account_id: int) -> None:
    """Refuse what cannot be an account's id. Raises `errors.Invalid`."""
    errors.require(1 <= account_id <= ACCOUNT_ID_MAX, "user_id", "must be positive")


def parse_page(limit: int, offset: int) -> tuple[int, int]:
    """Return the limit and offset to serve: 0 asks for 20, more than 1,000 is served as 1,000.

    Raises `errors.Invalid` for negative values.
    """
    errors.require(limit >= 0, "limit", "must not be negative")
    errors.require(offset >= 0, "offset", "must not be negative")
    return min(limit or PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX), offset
