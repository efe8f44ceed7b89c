import pytest
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.anatomy import Anatomy, Attention, FeedForward, ResidualWriter, run_node
from tfcompress.models.bert import BertConfig, bert
from tfcompress.models.vit import ViTConfig, vit

BERT = BertConfig(vocabulary=50, sequence_length=6, width=8, depth=2, heads=2, mlp=16)
VIT = ViTConfig(image_size=8, patch_size=4, width=8, depth=2, heads=2)

layers = tf_keras.layers


@pytest.mark.parametrize("model", [bert(BERT, 3), bert(BERT, 3, dropout=0.1), vit(VIT, 3), vit(VIT, 3, dropout=0.1)])
def test_every_part_is_found(model):
    anatomy = Anatomy(model)
    assert anatomy.attentions[1] == Attention(
        "block_1_query", "block_1_key", "block_1_value", "block_1_attention", "block_1_output"
    )
    assert anatomy.feed_forwards[:2] == [
        FeedForward(f"block_{block}_mlp1", f"block_{block}_mlp1", f"block_{block}_mlp2") for block in (0, 1)
    ]
    assert len(anatomy.attentions) == 2


def test_the_stream_of_a_post_norm_encoder():
    anatomy = Anatomy(bert(BERT, 3))
    assert anatomy.post_norm
    assert anatomy.stream == [
        "embedding_norm", "block_0_norm1", "block_0_norm2", "block_1_norm1", "block_1_norm2"
    ]  # fmt: skip
    assert anatomy.writers[1] == ResidualWriter("block_0_mlp2", "block_0_norm1", "block_0_add2", "block_0_norm2")


def test_the_stream_of_a_pre_norm_encoder():
    anatomy = Anatomy(vit(VIT, 3))
    assert not anatomy.post_norm
    assert anatomy.stream == [
        "position_embedding", "block_0_add1", "block_0_add2", "block_1_add1", "block_1_add2"
    ]  # fmt: skip
    assert anatomy.writers[-1] == ResidualWriter("block_1_mlp2", "block_1_add1", "block_1_add2", None)


def test_dropout_does_not_hide_the_stream():
    assert Anatomy(bert(BERT, 3, dropout=0.1)).stream[0] == "embedding_dropout"
    assert Anatomy(vit(VIT, 3, dropout=0.1)).post_norm is False


def test_the_pooler_and_the_head_are_a_feed_forward_pair():
    assert Anatomy(bert(BERT, 3, dropout=0.1)).feed_forwards[-1] == FeedForward("pooler", "pooler_dropout", "head")


def test_nodes_are_in_topological_order():
    anatomy = Anatomy(bert(BERT, 3))
    seen = set(anatomy.model.input_names)
    for node in anatomy.nodes:
        assert {source.name for source in anatomy.sources(node.layer)} <= seen
        seen.add(node.layer.name)


def test_running_the_nodes_one_by_one_gives_the_models_output(tiny_vit, images):
    values = {"image": images[:4]}
    for node in Anatomy(tiny_vit).nodes:
        values[node.layer.name] = run_node(node, values)
    assert abs(values["head"] - tiny_vit(images[:4])).numpy().max() < 1e-6


def test_a_model_without_attention_has_no_stream():
    x = tf_keras.Input((4,))
    model = tf_keras.Model(x, layers.Dense(2)(x), name="plain")
    with pytest.raises(UserError, match="model plain has no attention"):
        _ = Anatomy(model).stream


def test_a_layer_that_is_called_twice_is_refused():
    x = tf_keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    with pytest.raises(UserError, match="layer shared is used twice"):
        Anatomy(tf_keras.Model(x, shared(shared(x))))
