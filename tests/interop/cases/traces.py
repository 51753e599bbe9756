"""Traces, as the decoder and the gRPC server of others see them."""

import asyncio
import concurrent.futures

from house import case

SITE = """
otel_exporter {{ endpoint {endpoint}; interval 50ms; }}
otel_service_name gate;
otel_trace on;
otel_trace_context propagate;
upstream app {{ server 127.0.0.1:{port}; }}
server {{
    listen 127.0.0.1:0;
    location / {{ proxy_pass http://app; }}
    location /none {{ return 404; }}
}}
"""


@case("a gRPC collector of opentelemetry-proto reads the spans of a handshake")
async def spans(house):
    import grpc
    import websockets
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
    from opentelemetry.proto.trace.v1 import trace_pb2

    loop, taken = asyncio.get_running_loop(), asyncio.Queue()

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):
            loop.call_soon_threadsafe(taken.put_nowait, request)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        backend = await house.node_echo()
        longwire = await house.longwire(SITE.format(endpoint=f"127.0.0.1:{port}", port=backend.port))

        async def expect(count):
            found = []
            while len(found) < count:
                export = await asyncio.wait_for(taken.get(), 20)
                # Whatever is not of the protocol stays unknown, byte for byte.
                known = trace_service_pb2.ExportTraceServiceRequest()
                known.CopyFrom(export)
                known.DiscardUnknownFields()
                assert known.ByteSize() == export.ByteSize(), export
                for resource in export.resource_spans:
                    names = {a.key: a.value.string_value for a in resource.resource.attributes}
                    assert names == {"service.name": "gate"}, names
                    found += [span for scope in resource.scope_spans for span in scope.spans]
            assert len(found) == count, found
            return found

        async with websockets.connect(f"ws://127.0.0.1:{longwire.port}/ws") as client:
            attempt, own = await expect(2)
            assert own.kind == trace_pb2.Span.SPAN_KIND_SERVER and own.name == "/", own
            assert attempt.kind == trace_pb2.Span.SPAN_KIND_CLIENT, attempt
            assert attempt.parent_span_id == own.span_id and attempt.trace_id == own.trace_id, (attempt, own)
            values = {a.key: a.value for a in own.attributes}
            assert values["longwire.websocket"].bool_value and values["http.status_code"].int_value == 101, values
            assert [event.name for event in attempt.events] == ["connected", "answered"], attempt
            await client.send("still here")
            assert await client.recv() is not None
        try:
            await websockets.connect(f"ws://127.0.0.1:{longwire.port}/none")
            raise AssertionError("there is nothing")
        except websockets.InvalidStatus as refused:
            assert refused.response.status_code == 404
        (own,) = await expect(1)
        assert own.status.code == trace_pb2.Status.STATUS_CODE_ERROR, own
        assert own.status.message.startswith("fault of the configuration"), own
        return own.status.message
    finally:
        server.stop(None)
