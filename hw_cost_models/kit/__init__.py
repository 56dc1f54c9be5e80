"""A measuring kit for a device that has no PyTorch: made here, run there, read here.

`making` writes the kit. `board` is what runs there, on Python 3.9 with onnxruntime and numpy: the kit carries
its source as it is. `latency_file` reads what came back as a cost model.
"""
