"""All kinds of user models."""

from tests.user_models import keras2_pictures, keras2_sequences, keras3_pictures, keras3_sequences
from tests.user_models.kinds import KINDS

__all__ = ["KINDS", "keras2_pictures", "keras2_sequences", "keras3_pictures", "keras3_sequences"]
