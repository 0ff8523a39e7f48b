"""Text to windows of token ids, in constant memory. Needs nothing but NumPy.

files    find, located, stdlib_sources            which files
reading  read_chunks, read_bytes, is_utf8         their text, or their bytes, as a stream
vocab    Vocab, Encoder, Decoder                  characters, words or bytes to ids and back
encoded  encode_files, Encoded                    files in a vocabulary that is there already
tokens   tokenize, read_tokens, Tokens, ...       the corpus as one mapped array of ids
text     split, Lanes                             lanes side by side, windows of time steps
lines    LineLanes, layout, validation_layout     the same, each line a sequence of its own
sequences  Padded, pad, ByLength                  sequences of unequal length, padded, similar ones side by side
rows     lines, Example, BadRows, skip_bad_rows   rows of files by line number, and the bad ones among them
table    read_table, Table                        tables of numbers: CSV, TSV and their kin; dates in them
symbols  Symbols                                  words, labels or characters that come already split, and their ids
conll    read_tagged                               words with a tag each, from CoNLL and CoNLL-U
spans    spans, f1, is_spans                      what B-, I- and O say together, and how well it was found
labelled  read_labelled                           texts with a label each, from files, folders or a table
madeup   tagged_sentences, said_of_films          sentences to learn from where no files are named

    tokens = tokenize(find(["texts/"]), "char")
    training, validation = split(tokens, val_fraction=0.1)
    lanes = Lanes(training, batch_size=32, num_steps=64)
    inputs, targets = lanes.window(0)  # each (num_steps, batch_size)
"""

from micrornn.data.encoded import Encoded, encode_files
from micrornn.data.files import find, located, stdlib_sources
from micrornn.data.lines import LineLanes, layout, validation_layout
from micrornn.data.reading import is_utf8, read_bytes, read_chunks
from micrornn.data.sequences import ByLength, Padded, pad
from micrornn.data.text import Lanes, split
from micrornn.data.tokens import Tokens, default_cache_dir, read_tokens, tokenize
from micrornn.data.vocab import UNITS, Decoder, Encoder, Kind, Vocab

__all__ = [
    "UNITS", "ByLength", "Decoder", "Encoded", "Encoder", "Kind", "Lanes", "LineLanes", "Padded", "Tokens",
    "Vocab", "default_cache_dir", "encode_files", "find", "is_utf8", "layout", "located", "pad", "read_bytes",
    "read_chunks", "read_tokens", "split", "stdlib_sources", "tokenize", "validation_layout",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
