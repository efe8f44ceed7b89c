"""What config.json of a checkpoint in Hugging Face's layout says, checked, and our configs of ViT and DeiT.

Names and defaults are those of the `transformers` package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat, PositiveInt, ValidationError

from tfcompress.errors import UserError
from tfcompress.models.vit import ViTConfig

IMAGE_TYPES = ("vit", "deit")
TEXT_TYPES = ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "mpnet", "mobilebert")
TYPES = (*TEXT_TYPES, *IMAGE_TYPES)
"""The accepted values of `model_type`."""

_ARCHITECTURES = {
    "BertFor": "bert",
    "BertModel": "bert",
    "DistilBert": "distilbert",
    "RobertaFor": "roberta",
    "RobertaModel": "roberta",
    "XLMRobertaFor": "xlm-roberta",
    "XLMRobertaModel": "xlm-roberta",
    "Camembert": "camembert",
    "Electra": "electra",
    "MPNet": "mpnet",
    "MobileBert": "mobilebert",
    "ViT": "vit",
    "DeiT": "deit",
}
"""The type of a config.json without `model_type`, by how its architecture begins."""

GELUS = {"gelu": True, "gelu_python": True, "gelu_new": False, "gelu_pytorch_tanh": False, "gelu_fast": False}
"""Whether each accepted activation is the exact GELU or its tanh approximation."""

Gelu = Literal["gelu", "gelu_python", "gelu_new", "gelu_pytorch_tanh", "gelu_fast"]


def _side(value: object) -> object:
    """Returns one side of a square that is given as a number, a pair, or height and width."""
    sides = list(value.values()) if isinstance(value, dict) else value
    if isinstance(sides, list):
        if len(sides) != 2 or sides[0] != sides[1]:
            raise ValueError("accepted are squares, as one number or two equal ones")
        return sides[0]
    return value


_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Side = Annotated[PositiveInt, BeforeValidator(_side)]


class Encoder(BaseModel):
    """What config.json of any of these says."""

    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    intermediate_size: PositiveInt
    layer_norm_eps: _Positive = 1e-12


class ImageSettings(Encoder):
    """What config.json of a ViT or DeiT says."""

    hidden_act: Literal["gelu", "gelu_python"] = "gelu"
    image_size: _Side
    patch_size: _Side
    num_channels: Literal[3] = 3
    qkv_bias: bool = True


class Preprocessing(BaseModel):
    """How preprocessor_config.json prepares an image: `(pixels * rescale_factor - image_mean) / image_std`."""

    do_rescale: bool = True
    rescale_factor: _Positive = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.5, 0.5, 0.5)
    image_std: tuple[_Positive, _Positive, _Positive] = (0.5, 0.5, 0.5)


_Settings = TypeVar("_Settings", bound=BaseModel)


def type_of(values: Mapping[str, Any], source: str) -> str:
    """Returns the type of model that config.json names, by `model_type` or else by `architectures`.

    Raises:
        UserError: it is none of `TYPES`, or its weights are quantized.
    """
    kind = values.get("model_type")
    architecture = architecture_of(values)
    if kind is None:
        kind = next((kind for start, kind in _ARCHITECTURES.items() if architecture.startswith(start)), None)
    if kind not in TYPES:
        raise UserError(f"{source} has model_type {kind!r} in config.json; accepted are {', '.join(TYPES)}")
    quantization = values.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise UserError(f"{source} was quantized by {method}; use the checkpoint that it was made from")
    return str(kind)


def architecture_of(values: Mapping[str, Any]) -> str:
    """Returns the class of transformers that config.json names first, or `AutoModel` if it names none."""
    names = values.get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else "AutoModel"


def checked(settings: type[_Settings], values: Mapping[str, Any], where: str) -> _Settings:
    """Returns the checked settings; `where` names the file in the `UserError` for missing and unaccepted ones.

    Settings that are null have their default.
    """
    try:
        return settings.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        raise UserError(f"{where} has no {name}; use a complete checkpoint of the type that config.json names")
    raise UserError(f"{where} has {name}: {str(first['input'])[:100]}; {_lowered(first['msg'])}")


def image_config(settings: ImageSettings, kind: str, source: str) -> ViTConfig:
    """Returns our config of a ViT or DeiT.

    Raises:
        UserError: the width of the feed-forward networks is not a multiple of that of the hidden states.
    """
    width, mlp = settings.hidden_size, settings.intermediate_size
    if mlp % width:
        raise UserError(f"{source} has feed-forward networks of width {mlp}; accepted is a multiple of {width}")
    return ViTConfig(
        image_size=settings.image_size,
        patch_size=settings.patch_size,
        width=width,
        depth=settings.num_hidden_layers,
        heads=settings.num_attention_heads,
        mlp_ratio=mlp // width,
        distilled=kind == "deit",
        epsilon=settings.layer_norm_eps,
    )


def _lowered(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
