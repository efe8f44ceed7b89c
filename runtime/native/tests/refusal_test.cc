// What a delegate refuses, and the message. Each case breaks one thing in a graph that is valid otherwise.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "delegate_for_test.h"
#include "packed_model.h"

namespace tfcompress {
namespace {

// A dense layer of 20 outputs on x (1, 2, 24), with all optional inputs, and one of each other operator.
struct Graph {
  PackedModel model;
  int x, residual, mask, ids, y;

  explicit Graph(Computing computing = Computing::kInt8, bool scaled = false) {
    x = model.Input({1, 2, 24});
    residual = model.Input({1, 2, 20});
    mask = model.Input({1, 2});
    ids = model.Ids({1, 2});
    DenseSpec spec;
    spec.outputs = 20;
    spec.computing = computing;
    spec.residual = residual;
    spec.flagged = scaled;
    const int hidden = model.Dense(x, spec)[0];
    const int normal = model.LayerNorm(hidden);
    y = model.Attention(normal, normal, normal, 4, mask, computing);
    const int embedded = model.Embedding(ids, 7, 24, 5, true, 0, scaled);
    model.interpreter.SetOutputs({y, embedded});
  }

  int input(int node, int i) { return model.interpreter.node(node).inputs->data[i]; }
  TfLiteTensor& constant(int node, int i) { return model.interpreter.tensor(input(node, i)); }
  void LeaveOut(int node, int i) { model.interpreter.node(node).inputs->data[i] = -1; }

  template <typename Value>
  void SetOption(int node, int word, Value value) {
    auto* options = static_cast<char*>(const_cast<void*>(model.interpreter.node(node).custom_initial_data));
    memcpy(options + 4 * word, &value, 4);
  }

  std::string Load() {
    const DelegatePointer delegate = NewDelegate();
    const bool loaded = model.interpreter.Apply(delegate.get()) && model.interpreter.Allocate();
    return loaded ? "" : model.interpreter.errors();
  }
};

constexpr int kDense = 0, kNorm = 1, kAttention = 2, kEmbedding = 3;  // nodes

// The place of a constant of the first segment among a node's inputs: x comes first.
constexpr int At(ConstantInput constant) { return 1 + constant; }

struct Case {
  const char* name;
  void (*breaks)(Graph* graph);
  const char* message;
};

void PrintTo(const Case& of, std::ostream* out) { *out << of.name; }

class Broken : public testing::TestWithParam<Case> {};

TEST_P(Broken, IsRefusedWithAReason) {
  Graph graph;
  GetParam().breaks(&graph);
  const std::string said = graph.Load();
  EXPECT_NE(said.find(GetParam().message), std::string::npos) << said;
}

// The same, with a graph of version 2: with a scale per output, and per row of the table.
class BrokenScales : public Broken {};

TEST_P(BrokenScales, AreRefusedWithAReason) {
  for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
    Graph graph(computing, true);
    GetParam().breaks(&graph);
    const std::string said = graph.Load();
    EXPECT_NE(said.find(GetParam().message), std::string::npos) << said;
  }
}

TEST(Valid, IsAccepted) {
  EXPECT_EQ(Graph(Computing::kInt8).Load(), "");
  EXPECT_EQ(Graph(Computing::kFloat32).Load(), "");
  EXPECT_EQ(Graph(Computing::kInt8, true).Load(), "");
  EXPECT_EQ(Graph(Computing::kFloat32, true).Load(), "");
}

TEST(Valid, WithoutBiasAndMask) {
  Graph graph;
  graph.LeaveOut(kDense, At(kBias));
  graph.LeaveOut(kAttention, 3);
  EXPECT_EQ(graph.Load(), "");
}

const Case kOptions[] = {
    {"NoOptions", [](Graph* g) { g->model.interpreter.node(kDense).custom_initial_data = nullptr; },
     "tfcompress.ClusteredFullyConnected (node 0): the options have version 0 in 0 bytes; this runtime reads versions "
     "1 to 2"},
    {"OptionsOfTwoBytes", [](Graph* g) { g->model.interpreter.node(kNorm).custom_initial_data_size = 2; },
     "tfcompress.LayerNorm (node 1): the options have version 0 in 2 bytes"},
    {"LaterVersion", [](Graph* g) { g->SetOption(kAttention, 0, 3); },
     "tfcompress.Attention (node 2): the options have version 3 in 16 bytes; this runtime reads versions 1 to 2"},
    {"VersionWithoutItsFlags", [](Graph* g) { g->SetOption(kAttention, 0, 2); },
     "tfcompress.Attention (node 2): the options have 16 bytes; expected 20"},
    {"FewerOptions", [](Graph* g) { g->model.interpreter.node(kEmbedding).custom_initial_data_size = 12; },
     "tfcompress.ClusteredEmbedding (node 3): the options have 12 bytes; expected 16"},
    {"MoreOptions", [](Graph* g) { g->model.interpreter.node(kDense).custom_initial_data_size = 36; },
     "the options have 36 bytes; expected 32"},
    {"NoInputs", [](Graph* g) { g->SetOption(kDense, 1, 0); }, "option inputs is 0; expected 1 to 16777216"},
    {"NegativeOutputs", [](Graph* g) { g->SetOption(kDense, 2, -1); }, "option outputs is 4294967295; expected 1 to"},
    {"OneBit", [](Graph* g) { g->SetOption(kDense, 3, 1); }, "option bits is 1; expected 2 to 8"},
    {"NineBits", [](Graph* g) { g->SetOption(kEmbedding, 3, 9); }, "option bits is 9; expected 2 to 8"},
    {"OtherComputing", [](Graph* g) { g->SetOption(kDense, 4, 2); }, "option computing is 2; expected 0 to 1"},
    {"OtherActivation", [](Graph* g) { g->SetOption(kDense, 5, 5); }, "option activation is 5; expected 0 to 4"},
    {"NoSegments", [](Graph* g) { g->SetOption(kDense, 6, 0); }, "option segments is 0; expected 1 to 16"},
    {"ManySegments", [](Graph* g) { g->SetOption(kDense, 6, 1 << 30); }, "option segments is 1073741824"},
    {"OtherResidual", [](Graph* g) { g->SetOption(kDense, 7, 2); }, "option residual is 2; expected 0 to 1"},
    {"NoRows", [](Graph* g) { g->SetOption(kEmbedding, 1, 0); }, "option rows is 0; expected 1 to 268435456"},
    {"WideTable", [](Graph* g) { g->SetOption(kEmbedding, 2, 1 << 30); }, "option width is 1073741824"},
    {"NoHeads", [](Graph* g) { g->SetOption(kAttention, 1, 0); }, "option heads is 0"},
    {"ScaleIsNaN", [](Graph* g) { g->SetOption(kAttention, 2, std::nanf("")); }, "option scale is not finite"},
    {"AttentionComputing", [](Graph* g) { g->SetOption(kAttention, 3, 7); }, "option computing is 7"},
    {"NegativeEpsilon", [](Graph* g) { g->SetOption(kNorm, 1, -1.0F); }, "option epsilon is -1; expected"},
    {"InfiniteEpsilon", [](Graph* g) { g->SetOption(kNorm, 1, INFINITY); }, "option epsilon is inf; expected"},
};

const Case kCounts[] = {
    {"SegmentsWithoutInputs", [](Graph* g) { g->SetOption(kDense, 6, 2); },
     "there are 8 inputs and 1 outputs; expected 14 to 14 inputs and 2 outputs"},
    {"ResidualTooMany", [](Graph* g) { g->SetOption(kDense, 7, 0); }, "there are 8 inputs"},
    {"AttentionOfTwo", [](Graph* g) { g->model.interpreter.node(kAttention).inputs->size = 2; },
     "there are 2 inputs and 1 outputs; expected 3 to 4 inputs and 1 outputs"},
    {"NormOfOne", [](Graph* g) { g->model.interpreter.node(kNorm).inputs->size = 1; }, "there are 1 inputs"},
    {"TableOfNothing", [](Graph* g) { g->model.interpreter.node(kEmbedding).inputs = nullptr; }, "there are 0 inputs"},
    {"NoOutputs", [](Graph* g) { g->model.interpreter.node(kNorm).outputs->size = 0; }, "and 0 outputs; expected 3"},
};

const Case kConstants[] = {
    {"IndicesLeftOut", [](Graph* g) { g->LeaveOut(kDense, At(kIndices)); },
     "indices are missing (tensor -1); expected uint8 (576)"},
    {"IndicesNowhere", [](Graph* g) { g->model.interpreter.node(kDense).inputs->data[At(kIndices)] = 1000; },
     "indices are missing (tensor 1000)"},
    {"IndicesFed", [](Graph* g) { g->constant(kDense, At(kIndices)).allocation_type = kTfLiteArenaRw; },
     "are not a constant of the file"},
    {"IndicesWithoutData", [](Graph* g) { g->constant(kEmbedding, At(kIndices)).data = nullptr; },
     "are not a constant of the file"},
    {"IndicesCutOff", [](Graph* g) { g->constant(kDense, At(kIndices)).bytes = 575; },
     "are uint8 (576) in 575 bytes; expected uint8 (576)"},
    {"IndicesOfFewerBits", [](Graph* g) { g->SetOption(kDense, 3, 5); }, "in 576 bytes; expected uint8 (480)"},
    {"IndicesOfMoreOutputs", [](Graph* g) { g->SetOption(kDense, 2, 33); }, "in 576 bytes; expected uint8 (864)"},
    {"TableOfMoreRows", [](Graph* g) { g->SetOption(kEmbedding, 1, 8); },
     "tfcompress.ClusteredEmbedding (node 3): indices (tensor 14) are uint8 (105) in 105 bytes; expected uint8 "
     "(120)"},
    {"IndicesOfInt8", [](Graph* g) { g->constant(kDense, At(kIndices)).type = kTfLiteInt8; }, "are int8 (576)"},
    {"IndicesWithoutShape", [](Graph* g) { g->constant(kDense, At(kIndices)).dims->size = 0; }, "are uint8 () in 576"},
    {"IndicesSparse", [](Graph* g) { g->constant(kDense, At(kIndices)).sparsity = &g->x; }, "expected uint8 (576)"},
    {"CodebookLeftOut", [](Graph* g) { g->LeaveOut(kDense, At(kCodebook)); }, "the codebook is missing (tensor -1)"},
    {"CodebookTooLong", [](Graph* g) { g->constant(kDense, At(kCodebook)).dims->data[0] = 65; },
     "is int8 (65); expected 1 to 64 centroids"},
    {"CodebookEmpty", [](Graph* g) { g->constant(kEmbedding, At(kCodebook)).dims->data[0] = 0; },
     "is int8 (0); expected 1 to 32 centroids"},
    {"CodebookCutOff", [](Graph* g) { g->constant(kDense, At(kCodebook)).bytes = 63; }, "are int8 (64) in 63 bytes"},
    {"CodebookOfFloats", [](Graph* g) { g->constant(kDense, At(kCodebook)).type = kTfLiteFloat32; },
     "are float32 (64) in 64 bytes; expected int8 (64)"},
    {"CodebookOfIntegers", [](Graph* g) { g->constant(kEmbedding, At(kCodebook)).type = kTfLiteInt32; },
     "are int32 (32) in 32 bytes; expected float32 (32)"},
    {"ScaleLeftOut", [](Graph* g) { g->LeaveOut(kDense, At(kScale)); },
     "scales are missing (tensor -1); expected float32 (1)"},
    {"ScalesOfOtherOutputs", [](Graph* g) { g->constant(kDense, At(kScale)).dims->data[0] = 19; },
     "are float32 (19) in 4 bytes; expected float32 (20)"},
    {"TableWithManyScales", [](Graph* g) { g->constant(kEmbedding, At(kScale)).dims->data[0] = 7; },
     "are float32 (7) in 4 bytes; expected float32 (1)"},
    {"SumsLeftOut", [](Graph* g) { g->LeaveOut(kDense, At(kSums)); },
     "sums are missing (tensor -1); expected int32 (20)"},
    {"SumsOfFloats", [](Graph* g) { g->constant(kDense, At(kSums)).type = kTfLiteFloat32; }, "expected int32 (20)"},
    {"BiasTooShort", [](Graph* g) { g->constant(kDense, At(kBias)).dims->data[0] = 4; },
     "biases (tensor 8) are float32 (4) in 80 bytes; expected float32 (20)"},
    {"GammaEmpty", [](Graph* g) { g->constant(kNorm, 1).dims->data[0] = 0; },
     "tfcompress.LayerNorm (node 1): gamma (tensor 11) is (0); expected 1 to 16777216 values"},
    {"GammaCutOff", [](Graph* g) { g->constant(kNorm, 1).bytes = 4; },
     "gammas (tensor 11) are float32 (20) in 4 bytes"},
    {"BetaOfOtherWidth", [](Graph* g) { g->constant(kNorm, 2).dims->data[0] = 21; }, "expected float32 (20)"},
    {"BetaLeftOut", [](Graph* g) { g->LeaveOut(kNorm, 2); }, "betas are missing (tensor -1)"},
};

const Case kScaled[] = {
    {"ScalesLeftOut", [](Graph* g) { g->LeaveOut(kDense, At(kScale)); },
     "scales are missing (tensor -1); expected float32 (20)"},
    {"OneScale",
     [](Graph* g) { g->constant(kDense, At(kScale)).dims->data[0] = 1, g->constant(kDense, At(kScale)).bytes = 4; },
     "are float32 (1) in 4 bytes; expected float32 (20)"},
    {"ScalesCutOff", [](Graph* g) { g->constant(kDense, At(kScale)).bytes = 76; }, "are float32 (20) in 76 bytes"},
    {"TableWithoutScales", [](Graph* g) { g->LeaveOut(kEmbedding, At(kScale)); },
     "tfcompress.ClusteredEmbedding (node 3): scales are missing (tensor -1); expected float32 (7)"},
    {"TableWithOneScale",
     [](Graph* g) {
       g->constant(kEmbedding, At(kScale)).dims->data[0] = 1, g->constant(kEmbedding, At(kScale)).bytes = 4;
     },
     "are float32 (1) in 4 bytes; expected float32 (7)"},
    {"ReservedFlag", [](Graph* g) { g->SetOption(kDense, 8, 2); }, "option flags is 2; expected 0 to 1"},
    {"UnknownFlag", [](Graph* g) { g->SetOption(kEmbedding, 4, 1U << 31); },
     "option flags is 2147483648; expected 0 to 1"},
    {"FirstVersionWithFlags", [](Graph* g) { g->SetOption(kDense, 0, 1); }, "the options have 36 bytes; expected 32"},
};

const Case kActivations[] = {
    {"InputLeftOut", [](Graph* g) { g->LeaveOut(kDense, 0); }, "an input is missing (tensor -1)"},
    {"KeysLeftOut", [](Graph* g) { g->LeaveOut(kAttention, 1); }, "an input is missing (tensor -1)"},
    {"InputOfIntegers", [](Graph* g) { g->model.interpreter.tensor(g->x).type = kTfLiteInt32; },
     "an input (tensor 0) is int32; expected float32"},
    {"IdsOfFloats", [](Graph* g) { g->model.interpreter.tensor(g->ids).type = kTfLiteFloat32; },
     "an input (tensor 3) is float32; expected int32"},
    {"IdsOfAnotherType", [](Graph* g) { g->model.interpreter.tensor(g->ids).type = 4; }, "is type 4; expected int32"},
    {"OutputOfInt8", [](Graph* g) { g->model.interpreter.tensor(g->y).type = kTfLiteInt8; },
     "an output (tensor 13) is int8; expected float32"},
    {"OutputIsAConstant", [](Graph* g) { g->model.interpreter.tensor(g->y).allocation_type = kTfLiteMmapRo; },
     "an output (tensor 13) is a constant, which cannot be written"},
    {"OutputNowhere", [](Graph* g) { g->model.interpreter.node(kNorm).outputs->data[0] = 99; },
     "an output is missing (tensor 99)"},
    {"OutputIsItsInput", [](Graph* g) { g->model.interpreter.node(kNorm).outputs->data[0] = g->input(kNorm, 0); },
     "tfcompress.LayerNorm (node 1): its output (tensor 9) has already been read or written"},
    {"OutputWasRead", [](Graph* g) { g->model.interpreter.node(kAttention).outputs->data[0] = g->x; },
     "its output (tensor 0) has already been read or written"},
};

void Reshape(Graph* graph, int tensor, const Shape& shape) {
  TfLiteTensor& of = graph->model.interpreter.tensor(tensor);
  of.dims->size = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), of.dims->data);
}

const Case kShapes[] = {
    {"OtherWidth",
     [](Graph* g) {
       Reshape(g, g->x, {1, 2, 23});
     },
     "tfcompress.ClusteredFullyConnected (node 0): the input has the shape (1, 2, 23); expected (..., 24)"},
    {"Scalar", [](Graph* g) { Reshape(g, g->x, {}); }, "the input has the shape (); expected (..., 24)"},
    {"NegativeLength",
     [](Graph* g) {
       Reshape(g, g->x, {1, -2, 24});
     },
     "(1, -2, 24) has a negative length"},
    {"TooLarge",
     [](Graph* g) {
       Reshape(g, g->x, {1 << 20, 1 << 20, 24});
     },
     "(1048576, 1048576, 24) has more than 2147483647 elements"},
    {"TooManyRows",
     [](Graph* g) {
       Reshape(g, g->x, {2, 16777217, 24});
     },
     "the input has 33554434 rows; at most 16777216 are supported"},
    {"OutputTooLarge",
     [](Graph* g) {
       Reshape(g, g->ids, {1 << 14, 1 << 14});
     },
     "has more than 2147483647 elements"},
    {"ResidualOfOtherRows",
     [](Graph* g) {
       Reshape(g, g->residual, {1, 1, 20});
     },
     "the residual has the shape (1, 1, 20); expected (1, 2, 20)"},
    {"AttentionOnARow",
     [](Graph* g) {
       Reshape(g, g->x, {2, 24}), Reshape(g, g->residual, {2, 20});
     },
     "q, k and v have the shapes (2, 20), (2, 20) and (2, 20); expected the same shape (batch, tokens, width)"},
    {"OddHeads", [](Graph* g) { g->SetOption(kAttention, 1, 3); }, "the width 20 cannot be divided into 3 heads"},
    {"MaskOfOtherTokens",
     [](Graph* g) {
       Reshape(g, g->mask, {1, 1});
     },
     "the mask has the shape (1, 1); expected 2 elements, or 2 for each of 1 examples"},
};

std::string NameOfCase(const testing::TestParamInfo<Case>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Options, Broken, testing::ValuesIn(kOptions), NameOfCase);
INSTANTIATE_TEST_SUITE_P(Counts, Broken, testing::ValuesIn(kCounts), NameOfCase);
INSTANTIATE_TEST_SUITE_P(Constants, Broken, testing::ValuesIn(kConstants), NameOfCase);
INSTANTIATE_TEST_SUITE_P(Scales, BrokenScales, testing::ValuesIn(kScaled), NameOfCase);
INSTANTIATE_TEST_SUITE_P(Activations, Broken, testing::ValuesIn(kActivations), NameOfCase);
INSTANTIATE_TEST_SUITE_P(Shapes, Broken, testing::ValuesIn(kShapes), NameOfCase);

}  // namespace
}  // namespace tfcompress
