"""The limits as the configuration has them, and whom none of them touches."""

from shortener.accounts.throttle import LoginRates, LoginThrottle
from shortener.config.sections import Config
from shortener.limits import Limits, Rate, Rates
from shortener.net.addresses import ClientAddresses
from shortener.rpc.callers import Caller, Callers, trusted


def limits(config: Config) -> Limits:
    """Return the configured limits."""
    section = config.limits
    rates = Rates(
        creates=Rate(section.creates_per_minute, section.creates_burst),
        registrations=Rate(section.registrations_per_minute, section.registrations_burst),
        misses=Rate(section.misses_per_minute, section.misses_burst),
    )
    return Limits(rates, keys_max=section.keys_max)


def login_throttle(config: Config) -> LoginThrottle:
    """Return the configured login throttle."""
    section = config.limits
    rates = LoginRates(
        attempts=Rate(section.logins_per_minute, section.logins_burst),
        address_failures=Rate(section.address_login_failures_per_minute, section.address_login_failures_burst),
        failures=Rate(section.login_failures_per_minute, section.login_failures_burst),
    )
    return LoginThrottle(rates, keys_max=section.keys_max)


def client_addresses(config: Config) -> ClientAddresses:
    """Return what finds a client behind the configured proxies."""
    return ClientAddresses(config.analytics.trusted_proxies, memo_max=config.analytics.clients_max)


def rpc_caller(config: Config, addresses: ClientAddresses) -> Caller:
    """Return who is trusted over gRPC: with a service token or client certificates asked for, whoever gets through."""
    grpc = config.grpc
    asks = grpc.service_token or grpc.service_token_file or grpc.tls_client_ca
    return trusted if asks else Callers(addresses)
