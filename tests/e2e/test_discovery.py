"""Health and reflection on each gRPC port, asked by stock grpcio clients."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.conftest import both_servers
from tests.support.process import Running

pytestmark = both_servers
COMMON = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
SERVICES = {
    "url": {"url.URLService", "user.UserService", "analytics.AnalyticsService"},
    "user": {"user.UserService"},
    "analytics": {"analytics.AnalyticsService"},
}
MESSAGES = {
    "url": ("url.CreateURLRequest", {"long_url": 1, "user_id": 2, "expires_at": 4, "omit_qr_code": 5}),
    "user": ("user.CreateUserRequest", {"email": 1, "username": 2, "password": 3}),
    "analytics": ("analytics.GetGeoStatsRequest", {"short_code": 1, "limit": 2}),
}


@pytest.mark.parametrize("port", SERVICES)
def test_reflection_lists_and_describes_down_to_fields(server: Running, port: str) -> None:
    with grpc.insecure_channel(getattr(server, port)) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == SERVICES[port] | COMMON
        pool = DescriptorPool(database)
        for name in SERVICES[port] | COMMON:
            service = pool.FindServiceByName(name)
            assert all(method.input_type.full_name for method in service.methods)
        fields = {field.name: field.number for field in pool.FindMessageTypeByName(MESSAGES[port][0]).fields}
    assert fields == MESSAGES[port][1]


@pytest.mark.parametrize("port", SERVICES)
def test_health_answers_for_the_server_and_each_service(server: Running, port: str) -> None:
    with grpc.insecure_channel(getattr(server, port)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in {"", *SERVICES[port]}:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="no.Such"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
