"""The operations that a SavedModel may hold: those that compute on tensors. TensorFlow runs all that it finds, which may write files."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

from imgstream.errors import ModelError

_COMPUTING = """
Abs Acos Add AddN AddV2 All Any ArgMax ArgMin Assert AssignVariableOp Atan AvgPool BatchMatMulV2 BiasAdd Bitcast BitwiseAnd BitwiseOr
BroadcastTo Case Cast Ceil ClipByValue Concat ConcatV2 Const Conv2D Conv3D Cos Cumsum CumulativeLogsumexp DecodeBmp DecodeGif DecodeImage
DecodeJpeg DecodePaddedRaw DecodePng DecodeRaw DepthToSpace DepthwiseConv2dNative DisableCopyOnRead Div DivNoNan Einsum Elu EnsureShape
Equal Erf Erfc Exp ExpandDims ExtractJpegShape Fill Floor FloorDiv FloorMod FusedBatchNormV3 GatherNd GatherV2 Greater GreaterEqual
Identity IdentityN If Invert IsFinite LRN LeakyRelu LeftShift Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr LoopCond
MatMul Max MaxPool Maximum Mean Min Minimum MirrorPad Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 PartitionedCall Placeholder Pow
Prod Range Rank ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Reverse ReverseV2 RightShift
Rint Roll Round Rsqrt ScatterNd Select SelectV2 Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split SplitV
Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StopGradient StridedSlice
StringLength Sub Substr Sum Tan Tanh TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack
TensorScatterUpdate Tile TopKV2 Transpose Unpack VarHandleOp VarIsInitializedOp While Xdivy ZerosLike
"""
_SAVING = "DisableCopyOnRead MergeV2Checkpoints Pack RestoreV2 SaveV2 Select ShardedFilename StaticRegexFullMatch StringJoin"
_COMPUTES = frozenset(_COMPUTING.split())
_SAVES = _COMPUTES | frozenset(_SAVING.split())
_SAVERS = ("__inference__traced_save", "__inference__traced_restore")
"""Functions by which TensorFlow saves and restores variables: they are there in every SavedModel, and may be called by nothing in it."""


def check_operations(path: Path) -> None:
    """Raise ModelError, naming it, for the first operation in the saved_model.pb at `path` that may do more than compute."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    for meta in saved.meta_graphs:
        for function in functions_of(meta):
            is_saver = function.signature.name.startswith(_SAVERS)
            for node in function.node_def:
                if node.op not in (_SAVES if is_saver else _COMPUTES):
                    raise ModelError(f"{path} has the operation {node.op[:60]}, which may do more than compute: it is not loaded")
                if any(name.startswith(_SAVERS) for name in _called(node)):
                    raise ModelError(f"{path}: its graph writes or reads files when it is run: it is not loaded")
        for node in meta.graph_def.node:
            if node.op not in _COMPUTES:
                raise ModelError(f"{path} has the operation {node.op[:60]}, which may do more than compute: it is not loaded")


def functions_of(meta: Any) -> Any:
    """The functions, FunctionDef, that the graph of a MetaGraphDef may call."""
    return attrgetter("library.function")(meta.graph_def)


def _called(node: Any) -> Iterator[str]:
    """The names of all functions that a node refers to, and its own operation, which may be one."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (each.name for each in value.list.func)
