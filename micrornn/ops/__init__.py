"""What a tape can record. Importing this package fills the table `micrornn.tape.OPS`.

Every op stands next to its VJP, with the formula, written once for every device in calls to kernels.

    elementwise   add sub mul div pow neg abs exp log sqrt tanh sigmoid log_sigmoid relu where dropout
                  clip_message
    linear        matmul linear
    shape         reshape transpose concatenate split stack unstack getitem
    reduce        sum mean max softmax log_softmax
    loss          cross_entropy linear_cross_entropy binary_cross_entropy mean_squared_error cosine_similarity
    embedding     embedding
    recurrent     SequenceOp, the op of a cell
    masks         mask_message
"""

from micrornn.ops.elementwise import *
from micrornn.ops.embedding import *
from micrornn.ops.linear import *
from micrornn.ops.loss import *
from micrornn.ops.masks import *
from micrornn.ops.recurrent import SequenceOp as SequenceOp
from micrornn.ops.reduce import *
from micrornn.ops.shape import *
from micrornn.tape import OPS

# Every op of these files, by itself: an op needs no row here.
__all__ = [
    *sorted(name for name, op in OPS.items() if globals().get(name) is op),
    "SequenceOp",
    "cosine_similarity",
]


def __dir__() -> list[str]:
    return __all__
