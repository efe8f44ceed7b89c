import numpy as np
import pytest

from tests.models.pretrained.hugging_face_folders import (
    BERT,
    DISTILBERT,
    LENGTH,
    VIT,
    WIDTH,
    bert_tensors,
    distilbert_tensors,
    vit_tensors,
    without,
    write,
)
from tfcompress.errors import UserError
from tfcompress.models.pretrained import hugging_face


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({**BERT, "model_type": "gpt2"}, bert_tensors(), "model_type 'gpt2' in config.json; accepted are bert, "),
        (
            {**BERT, "model_type": "mobilebert", "hidden_act": "relu", "use_bottleneck_attention": True},
            bert_tensors(),
            "has use_bottleneck_attention: True; input should be False",
        ),
        ({**BERT, "problem_type": "ranking"}, bert_tensors(), "has problem_type 'ranking' in config.json; it must be"),
        (
            {**BERT, "hidden_size": 8},
            bert_tensors(),
            r"word_embeddings\.weight has the shape \(10, 16\), but config\.json says \(10, 8\)",
        ),
        (
            {**BERT, "max_position_embeddings": 9},
            bert_tensors(),
            r"position_embeddings\.weight has the shape \(12, 16\), but config\.json says \(9, 16\)",
        ),
        (
            {**BERT, "num_hidden_layers": 1},
            bert_tensors(),
            r"has encoder\.layer\.1\..*, but the model in its config\.json does not",
        ),
        ({**BERT, "num_hidden_layers": 3}, bert_tensors(), r"has no encoder\.layer\.2\.attention\.self\.query\.weight"),
        ({**BERT, "num_attention_heads": 3}, bert_tensors(), "3 heads do not divide 16 features"),
        ({**BERT, "hidden_act": "silu"}, bert_tensors(), "has hidden_act: silu; input should be 'gelu', "),
        (without(BERT, "hidden_size"), bert_tensors(), r"config\.json of .* has no hidden_size"),
        (without(DISTILBERT, "dim"), distilbert_tensors(), r"config\.json of .* has no dim"),
        ({**BERT, "hidden_act": ["gelu"]}, bert_tensors(), r"has hidden_act: \['gelu'\]; input should be 'gelu', "),
        (
            {**BERT, "position_embedding_type": "relative_key"},
            bert_tensors(),
            "has position_embedding_type: relative_key",
        ),
        ({**BERT, "is_decoder": True}, bert_tensors(), "has is_decoder: True; input should be False"),
        ({**BERT, "hidden_size": "wide"}, bert_tensors(), "has hidden_size: wide; input should be a valid integer"),
        ({**BERT, "quantization_config": {"quant_method": "gptq"}}, bert_tensors(), "was quantized by gptq"),
        (
            {**BERT, "problem_type": "multi_label_classification"},
            bert_tensors(),
            "has a head for multilabel, not for classification; use .*, or set model.new_head",
        ),
        (
            BERT,
            bert_tensors() | {"classifier.bias": np.zeros(2, "f")},
            r"classifier has weights of shape \(3, 16\) and",
        ),
        (
            BERT,
            bert_tensors() | {"embeddings.LayerNorm.bias": np.full(WIDTH, np.nan, "f")},
            "LayerNorm.bias has values th",
        ),
        ({**VIT, "image_size": [8, 12]}, vit_tensors(), r"has image_size: \[8, 12\]; accepted are squares"),
        (
            {**VIT, "image_size": 4000},
            vit_tensors(),
            r"position_embeddings has the shape \(1, 5, 16\), but .*1000001, 16\)",
        ),
        (
            {**BERT, "vocab_size": 9},
            bert_tensors(),
            r"word_embeddings\.weight has the shape \(10, 16\), but .* \(9, 16\)",
        ),
        (BERT, bert_tensors() | {"embeddings.position_embeddings.weight": np.float32(1)}, r"has the shape \(1,\), but"),
        ({**VIT, "num_channels": 1}, vit_tensors(), "has num_channels: 1; input should be 3"),
        (
            {**VIT, "patch_size": 2},
            vit_tensors(),
            r"projection\.weight has the shape \(16, 3, 4, 4\), but .* \(16, 3, 2, 2\)",
        ),
        (BERT, without(bert_tensors(), "embeddings.LayerNorm.bias"), "the checkpoint .* has no embeddings.Layer"),
        (VIT, without(vit_tensors(), "embeddings.cls_token"), "has no embeddings.cls_token"),
        (
            {**VIT, "intermediate_size": 40},
            vit_tensors(),
            "has feed-forward networks of width 40; accepted is a multiple of 16",
        ),
        ({**VIT, "hidden_act": "gelu_new"}, vit_tensors(), "has hidden_act: gelu_new; input should be 'gelu' or "),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_config_is_refused(tmp_path, config, tensors, message):
    with pytest.raises(UserError, match=message):
        hugging_face.load(write(tmp_path, config, tensors), 3, LENGTH)
