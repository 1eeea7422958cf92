"""The layers and functions that a model's file may name: those of Keras that only compute on their inputs.

A Keras config says which classes and functions are to be looked up, created and called. All of it, at any depth, is checked before Keras
sees it. This is a list of what is allowed, not of what is known to be bad: a layer of a later Keras is refused until it is added here. Left
out on purpose are layers that carry code, or load it from another place (Lambda, TFSMLayer, …), and those that read other files
(StringLookup and the like).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imgstream.errors import ModelError

_MODELS = "Functional Model Sequential"
_LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D
AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BatchNormalization Bidirectional CenterCrop Concatenate
ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D
ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D
Cropping2D Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Equalization Flatten GRU GRUCell
GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D
GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
GroupNormalization GroupQueryAttention GroupedQueryAttention Identity InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking
MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MixUp MultiHeadAttention Multiply Normalization PReLU
Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert RandomPerspective
RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom ReLU RepeatVector
Rescaling Reshape Resizing ReversibleEmbedding SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D SimpleRNN
SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
CustomScaleLayer LayerScale
"""  # the last two are keras.applications' own, of InceptionResNetV2 and ConvNeXt
_OPERATIONS = """
Abs Absolute Add Amax Amin Argmax Argmin Average BroadcastTo Cast Ceil Clip Concatenate ConvertToTensor Cos Divide DivideNoNan Dot Einsum
Equal Exp ExpandDims Expm1 Flip Floor FloorDivide FullLike GetItem Greater GreaterEqual Hstack Less LessEqual Log Log1p Log2 Log10
LogicalAnd LogicalNot LogicalOr Logsumexp Matmul Max Maximum Mean Median Min Minimum Mod Moveaxis Multiply Negative NotEqual OnesLike Pad
Power Prod Reciprocal Repeat Reshape Roll Rot90 Round Rsqrt SaturateCast Sign Sin Slice Split Sqrt Square Squeeze Stack Std StopGradient
Subtract Sum Swapaxes Take Tan Tanh Tensordot Tile Transpose TrueDivide Trunc Unstack Var Vstack Where ZerosLike
AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm Celu Conv ConvTranspose DepthToSpace DepthwiseConv DotProductAttention Elu Erf
Fold Gelu Glu HardSigmoid HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool Moments Norm Normalize RMSNorm Relu Relu6
Selu SeparableConv Sigmoid Silu Softmax Softplus Softsign SpaceToDepth Unfold
CropImages ExtractPatches HSVToRGB PadImages RGBToGrayscale RGBToHSV Resize
"""  # none that is given a function, as Map, Scan, Cond and WhileLoop are
_PARTS = """
Constant GlorotNormal GlorotUniform HeNormal HeUniform IdentityInitializer LecunNormal LecunUniform Ones Orthogonal OrthogonalInitializer
RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
L1 L1L2 L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm
DTypePolicy DTypePolicyMap FloatDTypePolicy Policy QuantizedDTypePolicy QuantizedFloat8DTypePolicy
"""  # initializers, regularizers, constraints, dtypes; a parameter may be one of them
_COMPILED = """
Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion LossScaleOptimizer Muon Nadam RMSprop SGD
CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay
BinaryCrossentropy BinaryFocalCrossentropy CTC CategoricalCrossentropy CategoricalFocalCrossentropy CategoricalGeneralizedCrossEntropy
CategoricalHinge Circle CosineSimilarity Dice Hinge Huber KLDivergence LogCosh MeanAbsoluteError MeanAbsolutePercentageError
MeanSquaredError MeanSquaredLogarithmicError Poisson SparseCategoricalCrossentropy SquaredHinge Tversky
AUC Accuracy BinaryAccuracy BinaryIoU CategoricalAccuracy F1Score FBetaScore FalseNegatives FalsePositives IoU LogCoshError Mean
MeanIoU MeanMetricWrapper OneHotIoU OneHotMeanIoU Precision PrecisionAtRecall R2Score Recall RecallAtPrecision RootMeanSquaredError
SensitivityAtSpecificity SparseCategoricalAccuracy SparseTopKCategoricalAccuracy SpecificityAtSensitivity Sum TopKCategoricalAccuracy
TrueNegatives TruePositives
"""  # how a model was trained; it is not compiled again
_VALUES = "__bytes__ __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__ __tuple__ TensorShape"
_FUNCTIONS = """
celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid log_softmax mish relu
relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink
threshold
binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy categorical_crossentropy
categorical_focal_crossentropy categorical_generalized_cross_entropy categorical_hinge circle cosine_similarity ctc dice hinge huber
kl_divergence log_cosh mean_absolute_error mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error poisson
sparse_categorical_accuracy sparse_categorical_crossentropy sparse_top_k_categorical_accuracy squared_hinge top_k_categorical_accuracy
tversky
"""  # activations, losses, metrics

CLASSES = frozenset(" ".join((_MODELS, _LAYERS, _OPERATIONS, _PARTS, _COMPILED)).split())
"""Names of Keras' classes that a config may hold."""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""Names of Keras' functions that a config may hold."""

BY_FIRST_TOKEN = frozenset({"DINOV2Backbone", "DINOV3Backbone", "DeiTBackbone", "ViTBackbone"})
"""Backbones of KerasHub whose first token stands for the whole image."""
HUB_TOWERS = frozenset({"CLIPBackbone", "MetaCLIP2Backbone", "SigLIPBackbone"})
"""Those of images and texts: their image tower is a backbone."""
HUB_BACKBONES = (
    BY_FIRST_TOKEN
    | HUB_TOWERS
    | frozenset(
        {
            *("CSPNetBackbone", "DenseNetBackbone", "EfficientNetBackbone", "HGNetV2Backbone", "MiTBackbone", "MobileNetBackbone"),
            *("MobileNetV5Backbone", "ResNetBackbone", "SigLIPVisionEncoder", "SwinTransformerBackbone", "VGGBackbone", "XceptionBackbone"),
        }
    )
)
"""Classes of KerasHub that a file may name as models of images."""
_HUB = HUB_BACKBONES | frozenset(
    {"CLIPTextEncoder", "CLIPVisionEncoder", "MetaCLIP2TextEncoder", "MetaCLIP2VisionEncoder", "SigLIPTextEncoder"}
)

_ANY_CODE = ("Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "__lambda__")


def check_config(config: Any, path: object) -> None:
    """Raise ModelError, naming it and `path`, for the first thing in the JSON `config` that is not allowed. Nothing is imported."""
    for part in _parts(config):
        if "class_name" in part:
            _check(part, path)


def _check(part: dict[str, Any], path: object) -> None:
    kind, module, registered = part["class_name"], part.get("module"), part.get("registered_name")
    if kind in _ANY_CODE:
        raise ModelError(f"{path} has a {kind} layer, which may run any code: it is not loaded. Save its model without")
    if kind in _VALUES.split():
        return
    if is_of_hub(part) and kind in _HUB and registered in (None, kind, f"keras_hub>{kind}"):
        return
    name = part.get("config") if kind == "function" else kind
    allowed = FUNCTIONS if kind == "function" else CLASSES
    homes = ("keras", "builtins") if kind == "function" else ("keras",)
    if module is not None and (not isinstance(module, str) or module.split(".")[0] not in homes):
        raise ModelError(f"{path} needs {module}.{name}, a custom object: only models of Keras' own layers can be loaded")
    if registered not in (None, kind, name):
        raise ModelError(f"{path} needs {registered}, a custom object: only models of Keras' own layers can be loaded")
    if not isinstance(name, str) or name not in allowed:
        what = "a custom object, or one of Keras that imgstream does not load from files"
        raise ModelError(f"{path} needs {str(name)[:100]}, {what}: only models of layers that compute on images can be loaded")


def is_of_hub(part: dict[str, Any]) -> bool:
    """Whether a part of a config names a class of KerasHub."""
    module = part.get("module")
    return isinstance(module, str) and module.split(".")[0] == "keras_hub"


def needs_hub(config: Any) -> bool:
    """Whether a config names a class of KerasHub, at any depth."""
    return any(is_of_hub(part) for part in _parts(config) if "class_name" in part)


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """All dicts inside, in order, without recursion: a config may be nested without end."""
    left = [config]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
            left += reversed(part.values())
        elif isinstance(part, list):
            left += reversed(part)
