# A collector on Google's gRPC library: takes OTLP requests over TLS, and prints each as a line in hexadecimal.
# Usage: collector.py CERTIFICATE KEY; the first line that it prints is its port.
import sys
from concurrent import futures

import grpc

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def export(request, context):
    metadata = dict(context.invocation_metadata())
    print(metadata.get("authorization", "-"), request.hex(), flush=True)
    return b""


class Traces(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(export) if call.method == METHOD else None


certificate, key = (open(path, "rb").read() for path in sys.argv[1:3])
server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
server.add_generic_rpc_handlers((Traces(),))
print(server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)])), flush=True)
server.start()
server.wait_for_termination()
