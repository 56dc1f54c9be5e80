"""What could the network be: choices, architectures, spaces, blocks and tasks."""

from search_spaces.adapters import ModuleAdapter
from search_spaces.architecture import Architecture
from search_spaces.augmentation import Augmentation
from search_spaces.binding import bind, capture_inputs, check, select, substitute
from search_spaces.blocks.sparse import finalised
from search_spaces.choice import Choice, Mixture, choices, parents, twins
from search_spaces.decoding import Decoder, Prefill, State, Stateful
from search_spaces.digits import digits
from search_spaces.elastic import Elastic, Slice
from search_spaces.encoder import encoder
from search_spaces.errors import DataError, SearchSpaceError, UnboundChoiceError
from search_spaces.examples import Examples
from search_spaces.fashion_mnist import fashion_mnist
from search_spaces.hybrid_lm import hybrid_lm
from search_spaces.images import LabelledImages
from search_spaces.labelled_text import LabelledText
from search_spaces.mobile_vision import mobile_vision
from search_spaces.nni_spaces import from_nni
from search_spaces.own_task import DatasetTask
from search_spaces.precision import with_precisions
from search_spaces.sequences import LabelledSequences
from search_spaces.space import CountsErrors, MeasuresOutputs, SearchSpace, Task
from search_spaces.synthetic import SyntheticTask
from search_spaces.text import ByteText

__all__ = [
    "Architecture",
    "Augmentation",
    "ByteText",
    "Choice",
    "CountsErrors",
    "DataError",
    "DatasetTask",
    "Decoder",
    "Elastic",
    "Examples",
    "LabelledImages",
    "LabelledSequences",
    "LabelledText",
    "MeasuresOutputs",
    "Mixture",
    "ModuleAdapter",
    "Prefill",
    "SearchSpace",
    "SearchSpaceError",
    "Slice",
    "State",
    "Stateful",
    "SyntheticTask",
    "Task",
    "UnboundChoiceError",
    "bind",
    "capture_inputs",
    "check",
    "choices",
    "digits",
    "encoder",
    "fashion_mnist",
    "finalised",
    "from_nni",
    "hybrid_lm",
    "mobile_vision",
    "parents",
    "select",
    "substitute",
    "twins",
    "with_precisions",
]
