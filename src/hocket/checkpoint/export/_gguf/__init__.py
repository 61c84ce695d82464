"""What the GGUF target writes, one file a piece: language model, tokenizer, eyes, ears, the files.

Only `file` and `answers` know the ``gguf`` library and llama.cpp's programs; the others say which
tensor of the checkpoint becomes which tensor of the file, and which keys stand beside them.
"""
