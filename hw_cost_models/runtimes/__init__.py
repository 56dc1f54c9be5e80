"""What runs in a fresh process, on the runtime that is measured: numpy and that runtime, nothing else."""
