"""What a module costs on a device: latency, FLOPs, bytes and memory, by tracing and by measuring."""
