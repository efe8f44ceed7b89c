// Runs the delegate end to end in a fake interpreter and compares the outputs with double precision.
#include <gtest/gtest.h>

#include <thread>

#include "delegate_for_test.h"
#include "instruction_sets.h"
#include "packed_model.h"

namespace tfcompress {
namespace {

constexpr double kFloat = 1e-5;  // relative to the largest output
constexpr double kInt8 = 2e-2;   // A value of x may be rounded in the other direction.

struct Loaded {
  explicit Loaded(PackedModel* model, const std::vector<int>& outputs, int threads = 1)
      : delegate(NewDelegate(threads)) {
    model->interpreter.SetOutputs(outputs);
    const bool loaded = model->interpreter.Apply(delegate.get()) && model->interpreter.Allocate();
    EXPECT_TRUE(loaded) << model->interpreter.errors();
  }
  DelegatePointer delegate;
};

void ExpectClose(PackedModel* model, int output, double most) {
  ASSERT_TRUE(model->interpreter.Invoke()) << model->interpreter.errors();
  EXPECT_LT(model->Error(output), most);
}

TEST(Dense, AllBitsAndActivations) {
  const Activation activations[] = {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh,
                                    Activation::kTanh};
  for (int bits = 2; bits <= 8; ++bits) {
    for (Activation activation : activations) {
      for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
        PackedModel model(static_cast<unsigned>(bits));
        const int x = model.Input({3, 37});
        DenseSpec spec;
        spec.outputs = 45;
        spec.bits = bits;
        spec.activation = activation;
        spec.computing = computing;
        spec.residual = model.Input({3, 45});
        const int y = model.Dense(x, spec)[0];
        Loaded loaded(&model, {y});
        model.Fill(x);
        model.Fill(spec.residual);
        ExpectClose(&model, y, computing == Computing::kInt8 ? kInt8 : kFloat);
      }
    }
  }
}

TEST(Dense, AllKindsOfCodebooks) {
  for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
    for (int kind = 0; kind < 6; ++kind) {
      PackedModel model(static_cast<unsigned>(kind));
      const int x = model.Input({2, 2, 40});
      DenseSpec spec;
      spec.outputs = 33;
      spec.computing = computing;
      spec.centroids = 17;  // fewer than 64
      spec.int8_codebook = kind > 0 && kind < 4;
      spec.scale_by_output = kind > 1;
      spec.flagged = kind > 3;
      if (kind == 5) spec.outputs = 1;
      spec.bias = kind != 3;
      spec.segments = 3;
      const std::vector<int> y = model.Dense(x, spec);
      Loaded loaded(&model, y);
      model.Fill(x);
      for (int output : y) ExpectClose(&model, output, computing == Computing::kInt8 ? kInt8 : kFloat);
    }
  }
}

TEST(Dense, IndicesBeyondTheCodebookReadZero) {
  PackedModel model;
  const int x = model.Input({1, 8});
  DenseSpec spec;
  spec.bits = 8;
  spec.bias = false;
  const int y = model.Dense(x, spec)[0];
  TfLiteTensor& indices = model.interpreter.tensor(1);
  memset(indices.data, 255, indices.bytes);
  TfLiteTensor& codebook = model.interpreter.tensor(2);
  codebook.dims->data[0] = 100;
  codebook.bytes = 400;
  Loaded loaded(&model, {y});
  model.Fill(x);
  ASSERT_TRUE(model.interpreter.Invoke());
  EXPECT_EQ(model.interpreter.Get(y), std::vector<float>(16, 0));
}

TEST(Constants, MayHaveAnyAddress) {
  for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
    for (size_t shift : {1, 2, 7}) {
      PackedModel model;
      const int ids = model.Ids({5});
      DenseSpec spec;
      spec.shift = shift;
      spec.computing = computing;
      const int y = model.Dense(model.LayerNorm(model.Embedding(ids, 9, 21, 6, true, shift), shift), spec)[0];
      Loaded loaded(&model, {y});
      ExpectClose(&model, y, computing == Computing::kInt8 ? kInt8 : kFloat);
    }
  }
}

TEST(Embedding, AllBitsAndCodebooks) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (int kind = 0; kind < 4; ++kind) {
      PackedModel model;
      const int ids = model.Ids({2, 3});
      const int y = model.Embedding(ids, 11, 13, bits, kind % 2 == 1, 3, kind > 1);
      Loaded loaded(&model, {y});
      const std::vector<int32_t> given{0, 10, 3, 3, 9, 1};
      memcpy(model.interpreter.tensor(ids).data, given.data(), 24);
      ExpectClose(&model, y, 1e-7);
    }
  }
}

TEST(Embedding, RefusesIdsOutsideTheTable) {
  for (int32_t id : {-1, 11, INT32_MAX, INT32_MIN}) {
    PackedModel model;
    const int ids = model.Ids({2, 3});
    const int y = model.Embedding(ids, 11, 13, 4);
    Loaded loaded(&model, {y});
    static_cast<int32_t*>(model.interpreter.tensor(ids).data)[4] = id;
    EXPECT_FALSE(model.interpreter.Invoke());
    EXPECT_EQ(model.interpreter.errors(), "tfcompress.ClusteredEmbedding (node 0): id " + std::to_string(id) +
                                              " at position 4 is not in the table of 11 rows. ");
  }
}

TEST(Attention, WithAndWithoutMasks) {
  for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
    for (int masks : {0, 1, 3}) {
      PackedModel model(1);
      const int q = model.Input({3, 19, 24}), k = model.Input({3, 19, 24}), v = model.Input({3, 19, 24});
      const int mask = masks > 0 ? model.Input({masks, 1, 19}) : -1;
      const int y = model.Attention(q, k, v, 2, mask, computing);
      Loaded loaded(&model, {y});
      for (int input : {q, k, v}) model.Fill(input);
      if (mask >= 0) model.Fill(mask, 10);
      ExpectClose(&model, y, computing == Computing::kInt8 ? kInt8 : kFloat);
    }
  }
}

TEST(FusedOperators, AreOneNode) {
  for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
    PackedModel model;
    const int x = model.Input({1, 17, 32}), mask = model.Input({1, 17});
    int y = x;
    for (int layer = 0; layer < 3; ++layer) y = model.EncoderLayer(y, 4, mask, computing);
    Loaded loaded(&model, {y});
    EXPECT_EQ(model.interpreter.fused_nodes(), 1U);
    for (int round = 0; round < 3; ++round) {
      model.Fill(x);
      model.Fill(mask);
      ExpectClose(&model, y, computing == Computing::kInt8 ? 5e-2 : kFloat);
    }
  }
}

TEST(FusedOperators, EndAtAnotherOperator) {
  PackedModel model;
  const int x = model.Input({1, 5, 16});
  const int first = model.EncoderLayer(x, 2, -1, Computing::kFloat32);
  const int y = model.EncoderLayer(model.Copy(first), 2, -1, Computing::kFloat32);
  const int z = model.LayerNorm(first);  // reads a tensor of the first fused node in the second one
  Loaded loaded(&model, {y, z});
  EXPECT_EQ(model.interpreter.fused_nodes(), 2U);
  model.Fill(x);
  ExpectClose(&model, y, kFloat);
  ExpectClose(&model, z, kFloat);
}

TEST(FusedOperators, ShareTheMemoryOfTheirGraph) {
  for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
    PackedModel model;
    const int x = model.Input({1, 40, 16}), wide = model.Input({1, 40, 48});
    int y = model.EncoderLayer(model.Copy(model.EncoderLayer(x, 2, -1, computing)), 2, -1, computing);
    const int z = model.EncoderLayer(model.Copy(wide), 4, -1, computing);  // needs more, so that the memory moves
    y = model.EncoderLayer(model.Copy(y), 2, -1, computing);
    Loaded loaded(&model, {y, z});
    EXPECT_GT(model.interpreter.fused_nodes(), 2U);
    for (int round = 0; round < 2; ++round) {
      model.Fill(x);
      model.Fill(wide);
      ExpectClose(&model, y, computing == Computing::kInt8 ? 5e-2 : kFloat);
      EXPECT_LT(model.Error(z), computing == Computing::kInt8 ? 5e-2 : kFloat);
    }
  }
}

TEST(FusedOperators, TakeInputsOfAnotherBatchAndLength) {
  PackedModel model;
  const int x = model.Input({1, 9, 16}), mask = model.Input({1, 9});
  const int y = model.EncoderLayer(x, 2, mask, Computing::kFloat32);
  Loaded loaded(&model, {y});
  for (const Shape& shape :
       std::vector<Shape>{{1, 30, 16}, {4, 3, 16}, {2, 64, 16}, {1, 1, 16}, {0, 7, 16}, {1, 0, 16}}) {
    ASSERT_TRUE(model.interpreter.Resize(mask, {shape[0], shape[1]}) || shape[1] != 9);
    ASSERT_TRUE(model.interpreter.Resize(x, shape)) << model.interpreter.errors();
    EXPECT_EQ(ShapeOf(model.interpreter.tensor(y)), shape);
    model.Fill(x);
    model.Fill(mask);
    ExpectClose(&model, y, kFloat);
  }
  EXPECT_FALSE(model.interpreter.Resize(x, {1, 9, 17}));
  EXPECT_NE(model.interpreter.errors().find("the input has the shape (1, 9, 17); expected (..., 16)"),
            std::string::npos);
  EXPECT_FALSE(model.interpreter.Invoke());
}

TEST(FusedOperators, RefuseTensorsThatChangedAfterPrepare) {
  PackedModel model;
  const int x = model.Input({4, 16}), y = model.LayerNorm(x);
  Loaded loaded(&model, {y});
  TfLiteTensor& tensor = model.interpreter.tensor(x);
  const TfLiteTensor before = tensor;
  tensor.bytes = 12;
  EXPECT_FALSE(model.interpreter.Invoke());
  EXPECT_EQ(model.interpreter.errors(), "tfcompress: tensor 0 has 12 bytes; 256 were prepared. ");
  tensor = before;
  tensor.data = nullptr;
  EXPECT_FALSE(model.interpreter.Invoke());
  tensor = before;
  tensor.data = static_cast<char*>(before.data) + 1;
  EXPECT_FALSE(model.interpreter.Invoke());
  EXPECT_NE(model.interpreter.errors().find("is not aligned to 4 bytes"), std::string::npos);
  tensor = before;
  ExpectClose(&model, y, kFloat);
}

// Large enough that all operators are divided among threads.
std::vector<float> ResultOf(int threads, int recommended, Computing computing) {
  PackedModel model(3);
  const int x = model.Input({2, 700, 96}), y = model.EncoderLayer(x, 3, -1, computing);
  model.interpreter.SetThreads(recommended);
  Loaded loaded(&model, {y}, threads);
  model.Fill(x);
  EXPECT_TRUE(model.interpreter.Invoke());
  return model.interpreter.Get(y);
}

TEST(Threads, GiveTheSameWhateverTheirNumber) {
  for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
    const std::vector<float> one = ResultOf(1, -1, computing);
    for (int threads : {2, 3, 4, 7}) {
      EXPECT_EQ(ResultOf(threads, 1, computing), one) << threads;
      EXPECT_EQ(ResultOf(0, threads, computing), one) << threads;
    }
  }
}

TEST(Threads, SeveralInterpretersRunAtOnce) {
  const DelegatePointer shared = NewDelegate(2);
  const auto work = [&shared](unsigned seed) {
    for (int round = 0; round < 4; ++round) {
      PackedModel model(seed);
      const int x = model.Input({1, 40, 32}), y = model.EncoderLayer(x, 2, -1, Computing::kInt8);
      const DelegatePointer own = NewDelegate(2);
      model.interpreter.SetOutputs({y});
      EXPECT_TRUE(model.interpreter.Apply(round % 2 == 0 ? shared.get() : own.get()) && model.interpreter.Allocate());
      model.Fill(x);
      for (int i = 0; i < 3; ++i) ExpectClose(&model, y, 5e-2);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
}

TEST(Delegate, MayBeDeletedBeforeTheInterpreter) {
  PackedModel model;
  const int x = model.Input({2, 16}), y = model.LayerNorm(x);
  { Loaded loaded(&model, {y}); }
  model.Fill(x);
  ExpectClose(&model, y, kFloat);
}

TEST(Delegate, LeavesGraphsWithoutItsOperatorsAlone) {
  PackedModel model;
  const int x = model.Input({2, 16}), y = model.Copy(x);
  Loaded loaded(&model, {y});
  EXPECT_EQ(model.interpreter.fused_nodes(), 0U);
  model.Fill(x);
  ExpectClose(&model, y, 0 + 1e-9);
}

std::string& Reported() {
  static std::string reported;
  return reported;
}

std::string ReportOnOptions(const std::vector<const char*>& keys, const std::vector<const char*>& values) {
  Reported().clear();
  const DelegatePointer delegate(tflite_plugin_create_delegate(keys.data(), values.data(), keys.size(),
                                                               [](const char* message) { Reported() = message; }));
  EXPECT_EQ(delegate == nullptr, !Reported().empty());
  return Reported();
}

TEST(Options, AreCheckedByName) {
  EXPECT_EQ(ReportOnOptions({}, {}), "");
  EXPECT_EQ(ReportOnOptions({"num_threads", "profile"}, {"64", "1"}), "");
  EXPECT_EQ(ReportOnOptions({"num_threads"}, {"0"}), "option num_threads is 0; expected 1 to 64");
  EXPECT_EQ(ReportOnOptions({"num_threads"}, {"2x"}), "option num_threads is 2x; expected 1 to 64");
  EXPECT_EQ(ReportOnOptions({"num_threads"}, {""}), "option num_threads is ; expected 1 to 64");
  EXPECT_EQ(ReportOnOptions({"profile"}, {"yes"}), "option profile is yes; expected 0 or 1");
  EXPECT_EQ(ReportOnOptions({"threads"}, {"1"}), "there is no option threads; the options are num_threads and profile");
}

TEST(Options, AreCheckedInAStruct) {
  TfcompressOptions options{};
  options.num_threads = 65;
  EXPECT_EQ(TfcompressDelegateCreate(&options, nullptr), nullptr);
  EXPECT_NE(DelegatePointer(TfcompressDelegateCreate(nullptr, nullptr)), nullptr);
  TfcompressDelegateDelete(nullptr);
}

TEST(Profile, IsPrintedAtTheEnd) {
  const char* key = "profile";
  const char* value = "1";
  testing::internal::CaptureStderr();
  {
    PackedModel model;
    const int x = model.Input({1, 5, 16}), y = model.EncoderLayer(x, 2, -1, Computing::kFloat32);
    const DelegatePointer delegate(tflite_plugin_create_delegate(&key, &value, 1, nullptr));
    model.interpreter.SetOutputs({y});
    ASSERT_TRUE(model.interpreter.Apply(delegate.get()) && model.interpreter.Allocate());
    ASSERT_TRUE(model.interpreter.Invoke() && model.interpreter.Invoke());
  }
  const std::string said = testing::internal::GetCapturedStderr();
  for (const char* part : {"7 fused operators", "2 inferences", "Attention ", "ClusteredFullyConnected 16 to 3 x 16 ",
                           "ClusteredFullyConnected 64 to 16 ", "LayerNorm ", "all "}) {
    EXPECT_NE(said.find(part), std::string::npos) << said;
  }
}

TEST(InstructionSets, AreListedAndChosen) {
  ASSERT_NE(TfcompressInstructionSet(0), nullptr);
  EXPECT_EQ(TfcompressInstructionSet(-1), nullptr);
  EXPECT_EQ(TfcompressInstructionSet(1000), nullptr);
  const char* before = getenv(kInstructionsVariable);
  const std::string saved = before == nullptr ? "" : before;
  for (int i = 0; TfcompressInstructionSet(i) != nullptr; ++i) {
    setenv(kInstructionsVariable, TfcompressInstructionSet(i), 1);
    EXPECT_STREQ(TfcompressChosenInstructionSet(), TfcompressInstructionSet(i));
  }
  setenv(kInstructionsVariable, "z80", 1);
  EXPECT_EQ(TfcompressChosenInstructionSet(), nullptr);
  EXPECT_NE(ReportOnOptions({}, {}), "");
  setenv(kInstructionsVariable, saved.c_str(), 1);
  EXPECT_NE(TfcompressChosenInstructionSet(), nullptr);
}

TEST(Version, IsReported) {
  EXPECT_EQ(TfcompressFormatVersion(), 2);
  EXPECT_STRNE(TfcompressVersion(), "");
}

}  // namespace
}  // namespace tfcompress
