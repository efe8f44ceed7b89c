// Compares attention on every usable instruction set with plain code in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "instruction_sets.h"
#include "kernels_for_test.h"

namespace tfcompress {
namespace {

struct Inputs {
  AttentionShape shape;
  std::vector<float> q, k, v, mask;  // mask: empty, or one value per token
};

Inputs RandomInputs(int tokens, int heads, int width, bool mask, float peaks, Random* random) {
  const int channels = heads * width;
  // Tensors may be parts of wider ones, so q and k have their own strides.
  Inputs in;
  in.shape = {tokens,       heads,    width,        channels + 3,
              channels + 5, channels, channels + 1, static_cast<float>(1 / std::sqrt(width))};
  const auto size = [&](int stride) { return static_cast<size_t>(tokens - 1) * stride + channels; };
  in.q = random->Normals(size(in.shape.q_stride), peaks);
  in.k = random->Normals(size(in.shape.k_stride), peaks);
  in.v = random->Normals(size(in.shape.v_stride));
  if (mask) {
    in.mask.resize(static_cast<size_t>(tokens));
    for (float& m : in.mask) m = random->Chance(3) ? -40.0f : 0.0f;
  }
  return in;
}

// Computes one head: (tokens, width).
std::vector<double> Wanted(const Inputs& in, int head) {
  const AttentionShape& s = in.shape;
  std::vector<double> wanted(static_cast<size_t>(s.tokens) * s.width), scores(static_cast<size_t>(s.tokens));
  for (int i = 0; i < s.tokens; ++i) {
    const float* q = in.q.data() + static_cast<size_t>(i) * s.q_stride + head * s.width;
    for (int j = 0; j < s.tokens; ++j) {
      const float* k = in.k.data() + static_cast<size_t>(j) * s.k_stride + head * s.width;
      double score = 0;
      for (int c = 0; c < s.width; ++c) score += static_cast<double>(q[c]) * k[c];
      scores[j] = score * s.scale + (in.mask.empty() ? 0 : in.mask[j]);
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - largest);
    for (int j = 0; j < s.tokens; ++j) {
      const float* v = in.v.data() + static_cast<size_t>(j) * s.v_stride + head * s.width;
      for (int c = 0; c < s.width; ++c) wanted[static_cast<size_t>(i) * s.width + c] += scores[j] / sum * v[c];
    }
  }
  return wanted;
}

// Runs all heads, with query rows in two parts, and returns the largest difference from `wanted`. Checks that nothing
// else is written.
double WorstDifference(const Kernels& kernels, const Inputs& in, bool int8,
                       const std::vector<std::vector<double>>& wanted) {
  const AttentionShape& s = in.shape;
  const Aligned<float> q(in.q), k(in.k), v(in.v), mask(in.mask);
  const Aligned<float> out(static_cast<size_t>(s.tokens - 1) * s.out_stride + s.heads * s.width, kUnwritten);
  const AttentionData data = {q.get(), k.get(), v.get(), in.mask.empty() ? nullptr : mask.get(), out.get()};
  const auto scratch_bytes = int8 ? kernels.attention_int8_scratch : kernels.attention_scratch;
  const auto attention = int8 ? kernels.attention_int8 : kernels.attention;
  const Aligned<char> scratch(scratch_bytes(s), 77);
  double worst = 0;
  for (int head = 0; head < s.heads; ++head) {
    const int middle = s.tokens / 3;
    if (middle > 0) attention(s, data, head, 0, middle, scratch.get());
    attention(s, data, head, middle, s.tokens, scratch.get());
  }
  for (int head = 0; head < s.heads; ++head) {
    std::vector<float> got;
    for (int i = 0; i < s.tokens; ++i) {
      for (int c = 0; c < s.width; ++c) got.push_back(out[static_cast<size_t>(i) * s.out_stride + head * s.width + c]);
    }
    worst = std::max(worst, Difference(got.data(), wanted[head]));
  }
  for (int i = 0; i + 1 < s.tokens; ++i) {
    for (int c = s.heads * s.width; c < s.out_stride; ++c) {
      EXPECT_EQ(out[static_cast<size_t>(i) * s.out_stride + c], kUnwritten);
    }
  }
  return worst;
}

void Check(const Inputs& in, bool int8, double most) {
  const AttentionShape& s = in.shape;
  SCOPED_TRACE("tokens " + std::to_string(s.tokens) + " heads " + std::to_string(s.heads) + " width " +
               std::to_string(s.width) + (in.mask.empty() ? "" : " mask"));
  std::vector<std::vector<double>> wanted;
  for (int head = 0; head < s.heads; ++head) wanted.push_back(Wanted(in, head));
  for (const Kernels* kernels : UsableKernels()) {
    SCOPED_TRACE(kernels->name);
    EXPECT_LT(WorstDifference(*kernels, in, int8, wanted), most);
  }
}

Inputs RandomCase(float peaks, Random* random) {
  const int tokens = random->Chance(6) ? random->Whole(100, 300) : random->Whole(1, 60);
  const int width = random->OneOf<int>({1, 3, 8, 16, 20, 24, 31, 32, 33, 40, 64, 80, 130});
  return RandomInputs(tokens, random->Whole(1, 2), width, random->Chance(2), peaks, random);
}

TEST(AttentionTest, RandomShapes) {
  Random random(1);
  for (int i = 0; i < Shapes(150) && !HasFailure(); ++i) Check(RandomCase(1.0f, &random), false, 1e-5);
}

TEST(AttentionTest, PeakedScores) {
  Random random(2);
  for (int i = 0; i < Shapes(20); ++i) Check(RandomCase(5.0f, &random), false, 1e-4);  // Scores are around 100 here.
}

// 8 bits cause errors of at most 1/127 of the largest value from v, 1/255 from p, and those of q and k in the scores.
TEST(AttentionInt8Test, IsCloseToFloat) {
  Random random(3);
  for (int i = 0; i < Shapes(100) && !HasFailure(); ++i) Check(RandomCase(1.0f, &random), true, 0.03);
}

// Each token attends almost only to itself, as happens in trained models.
TEST(AttentionInt8Test, PeakedScores) {
  Random random(4);
  for (int i = 0; i < Shapes(30) && !HasFailure(); ++i) {
    Inputs in = RandomCase(1.0f, &random);
    in.q = random.Normals(in.q.size(), 3.0f);
    const AttentionShape& s = in.shape;
    for (int t = 0; t < s.tokens; ++t) {
      for (int c = 0; c < s.heads * s.width; ++c) {
        in.k[static_cast<size_t>(t) * s.k_stride + c] = in.q[static_cast<size_t>(t) * s.q_stride + c];
      }
    }
    Check(in, true, 0.06);
  }
}

TEST(AttentionTest, HugeScoresAndMasks) {
  Random random(5);
  Inputs in = RandomInputs(37, 1, 16, true, 1.0f, &random);
  for (size_t t = 0; t < in.mask.size(); ++t) in.mask[t] = t % 2 == 0 ? -1e9f : 1000.0f;
  Check(in, false, 3e-4);  // Scores of 1000 have only four decimal places.
  Check(in, true, 0.03);
  for (size_t t = 0; t < in.mask.size(); ++t) {
    in.mask[t] = t % 2 == 0 ? -std::numeric_limits<float>::infinity() : 0.0f;
  }
  Check(in, false, 1e-5);
  Check(in, true, 0.03);
}

TEST(AttentionTest, TakesInfinitiesAndNaN) {
  Random random(6);
  const float infinity = std::numeric_limits<float>::infinity();
  for (float odd : {infinity, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::max(), 0.0f}) {
    for (int which = 0; which < 4; ++which) {
      Inputs in = RandomInputs(20, 1, 12, true, 1.0f, &random);
      std::vector<float>* tensors[] = {&in.q, &in.k, &in.v, &in.mask};
      std::fill(tensors[which]->begin(), tensors[which]->end(), odd);
      const std::vector<std::vector<double>> wanted = {Wanted(in, 0)};
      for (const Kernels* kernels : UsableKernels()) {
        for (bool int8 : {false, true}) WorstDifference(*kernels, in, int8, wanted);
      }
    }
  }
}

TEST(AttentionTest, NaNSpoilsOnlyItsRow) {
  Random random(7);
  Inputs in = RandomInputs(9, 1, 8, false, 1.0f, &random);
  in.q[4 * in.shape.q_stride + 2] = std::numeric_limits<float>::quiet_NaN();
  for (const Kernels* kernels : UsableKernels()) {
    const Aligned<float> q(in.q), k(in.k), v(in.v), out(static_cast<size_t>(9) * in.shape.out_stride);
    const Aligned<char> scratch(kernels->attention_scratch(in.shape));
    kernels->attention(in.shape, {q.get(), k.get(), v.get(), nullptr, out.get()}, 0, 0, 9, scratch.get());
    for (int i = 0; i < 9; ++i) {
      EXPECT_EQ(std::isnan(out[static_cast<size_t>(i) * in.shape.out_stride]), i == 4) << kernels->name << " row " << i;
    }
  }
}

}  // namespace
}  // namespace tfcompress
