"""Accounts as the generated messages of `user.proto`; both edges answer with these."""

from typing import Any

from shortener.accounts.model import Account
from shortener.accounts.ports import Claims
from shortener.accounts.service import SignedIn
from shortener.gen import user as pb
from shortener.rpc.codec import build


def register_response(signed_in: SignedIn) -> pb.RegisterResponse:
    """Return the answer of Register."""
    account = signed_in.account
    return build(
        pb.RegisterResponse,
        user_id=str(account.id),
        email=account.email,
        name=account.name,
        token=signed_in.token.token,
        created_at=account.created_at,
    )


def login_response(signed_in: SignedIn) -> pb.LoginResponse:
    """Return the answer of Login."""
    account = signed_in.account
    return build(
        pb.LoginResponse,
        user_id=str(account.id),
        email=account.email,
        name=account.name,
        token=signed_in.token.token,
        expires_at=signed_in.token.expires_at,
    )


def change_password_response(signed_in: SignedIn) -> pb.ChangePasswordResponse:
    """Return the answer of ChangePassword."""
    return build(pb.ChangePasswordResponse, token=signed_in.token.token, expires_at=signed_in.token.expires_at)


def profile_response(account: Account) -> pb.GetProfileResponse:
    """Return the answer of GetProfile."""
    return build(pb.GetProfileResponse, user=_profile(account))


def update_profile_response(account: Account) -> pb.UpdateProfileResponse:
    """Return the answer of UpdateProfile."""
    return build(pb.UpdateProfileResponse, user=_profile(account))


def validate_token_response(claims: Claims | None) -> pb.ValidateTokenResponse:
    """Return the answer of ValidateToken; None is a token that is not valid."""
    if claims is None:
        return build(pb.ValidateTokenResponse)
    return build(pb.ValidateTokenResponse, valid=True, user_id=claims.user_id, expires_at=claims.expires_at)


def user_response(account: Account) -> pb.UserResponse:
    """Return the answer of CreateUser and GetUser."""
    return build(pb.UserResponse, **_fields(account))


def user_list_response(accounts: list[Account], total: int, offset: int) -> pb.UserListResponse:
    """Return the answer of ListUsers: the page that begins after `offset` of `total` accounts."""
    return build(
        pb.UserListResponse,
        users=[_fields(account) for account in accounts],
        total=total,
        has_more=offset + len(accounts) < total,
    )


def _fields(account: Account) -> dict[str, Any]:
    """Return the fields of `pb.UserResponse`."""
    return {
        "id": account.id,
        "email": account.email,
        "username": account.username,
        "name": account.name,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }


def _profile(account: Account) -> dict[str, Any]:
    """Return the fields of `pb.User`, which has no username and the id as a text."""
    fields = _fields(account) | {"id": str(account.id)}
    del fields["username"]
    return fields
