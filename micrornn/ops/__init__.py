"""What a tape can record. Importing this package fills the table `micrornn.tape.OPS`.

Every op stands next to its VJP, with the formula, written once for every device in calls to kernels.

    elementwise   add sub mul div pow neg abs exp log sqrt tanh sigmoid relu where dropout clip_message
    linear        matmul linear
    shape         reshape transpose concatenate split stack unstack getitem
    reduce        sum mean max softmax log_softmax
    loss          cross_entropy linear_cross_entropy binary_cross_entropy mean_squared_error cosine_similarity
    embedding     embedding
    recurrent     SequenceOp, the op of a cell
    masks         mask_message
"""

from micrornn.ops.elementwise import (
    abs,
    add,
    clip_message,
    div,
    dropout,
    exp,
    log,
    mul,
    neg,
    pow,
    relu,
    sigmoid,
    sqrt,
    sub,
    tanh,
    where,
)  # fmt: skip
from micrornn.ops.embedding import embedding
from micrornn.ops.linear import linear, matmul
from micrornn.ops.loss import (
    binary_cross_entropy,
    cosine_similarity,
    cross_entropy,
    linear_cross_entropy,
    mean_squared_error,
)
from micrornn.ops.masks import mask_message
from micrornn.ops.recurrent import SequenceOp
from micrornn.ops.reduce import log_softmax, max, mean, softmax, sum
from micrornn.ops.shape import concatenate, getitem, reshape, split, stack, transpose, unstack
