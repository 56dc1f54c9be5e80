"""What a kit runs on the board: the standard library, numpy and onnxruntime, from Python 3.9 on."""
