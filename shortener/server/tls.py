"""TLS for gRPC, on both of its ends."""

import os
import ssl

from shortener.config.loading import ConfigError
from shortener.config.sections import Grpc


def server_context(grpc: Grpc) -> ssl.SSLContext | None:
    """Return what the gRPC listeners encrypt with, None for nothing. Raises `ConfigError`."""
    if not grpc.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(grpc.tls_certificate, grpc.tls_key, password=_no_password)
        if grpc.tls_client_ca:
            context.load_verify_locations(grpc.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(_unusable(grpc, error)) from None
    context.set_alpn_protocols(["h2"])
    return context


def client_context(grpc: Grpc, *, own: bool) -> ssl.SSLContext | None:
    """Return how the command line calls a server that is configured like this, None for no TLS. Raises `ConfigError`.

    `own` tells that the server is the configured one: then its own certificate is all that is trusted, whatever name
    it is for; any other server has to prove its name. Where clients need a certificate, the server's is shown.
    """
    if not grpc.tls_certificate:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(grpc.tls_certificate)
        if grpc.tls_client_ca:
            context.load_cert_chain(grpc.tls_certificate, grpc.tls_key, password=_no_password)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(_unusable(grpc, error)) from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # The certificate itself is trusted, not who issued it.
    context.check_hostname = not own
    context.set_alpn_protocols(["h2"])
    return context


def _no_password() -> str:
    """Stand in for OpenSSL's prompt on the terminal, which would hold the start."""
    raise ConfigError("[grpc] tls_key: it is encrypted; give it without a password, in a private file")


def _unusable(grpc: Grpc, error: OSError) -> str:
    """Return one line that names the file at fault, where that can be told."""
    for key in ("tls_certificate", "tls_key", "tls_client_ca"):
        path = getattr(grpc, key)
        if path and not os.access(path, os.R_OK):
            return f"[grpc] {key} {path}: cannot be read: {error.strerror}"
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return f"[grpc] tls_certificate, tls_key, tls_client_ca: no usable PEM files: {reason.lower().replace('_', ' ')}"
