"""What a run was asked to do, as its report keeps it: a recipe, or a call of `compress`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

JsonObject = dict[str, JsonValue]


class _Described(BaseModel):
    """Settings that were checked when the run began. What the report does not read is kept as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def settings(self) -> JsonObject:
        """Returns everything but the tag, as JSON holds it."""
        settings: JsonObject = self.model_dump(mode="json", exclude={"kind"})
        return settings


class DataSource(_Described):
    """The data set."""

    name: str


class RecipeModel(_Described):
    """The recipe's model. Exactly one of the three is given."""

    preset: str | None = None
    keras_nlp: str | None = None
    hugging_face: str | None = None


class GivenModel(_Described):
    """The model that `compress` was called with."""

    name: str
    sha256: str


class RecipeRun(_Described):
    """A run of a recipe; its keys are the recipe's."""

    kind: Literal["recipe"] = "recipe"
    data: DataSource
    model: RecipeModel
    seed: int
    training: JsonObject | Literal[False]
    techniques: list[JsonObject]
    export: JsonObject

    @property
    def model_name(self) -> str:
        """The preset, or where the pretrained weights come from."""
        return self.model.preset or self.model.keras_nlp or self.model.hugging_face or ""

    @property
    def command(self) -> str:
        """The command that repeats the run, with these settings in `recipe.yaml`."""
        return "tfcompress run recipe.yaml --workdir out/again"


class CompressCall(_Described):
    """A call of `tfcompress.compress`, or `tfcompress run --model`, which makes one."""

    kind: Literal["compress"] = "compress"
    data: DataSource
    model: GivenModel
    techniques: list[JsonObject]
    objective: list[str]
    export: JsonObject
    seed: int
    outputs: str | None = None
    pixel_range: tuple[float, float] | None = None

    @property
    def model_name(self) -> str:
        """The name of the Keras model."""
        return self.model.name

    @property
    def command(self) -> str:
        """Empty: no command alone repeats the call, because the model is the user's."""
        return ""


RunDescription = Annotated[RecipeRun | CompressCall, Field(discriminator="kind")]
