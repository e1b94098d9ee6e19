"""What HTTP and gRPC listeners share: accepting connections, client addresses, the table of statuses."""
