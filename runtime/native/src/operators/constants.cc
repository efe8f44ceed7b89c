#include "operators/constants.h"

#include "operators/checks.h"
#include "operators/operator.h"

namespace tfcompress {

Refusal CheckPackedWeights(const TfLiteContext& context, const PackedWeights& weights, size_t bytes, int bits,
                           bool int8, WeightScales scales) {
  if (Refusal why = CheckConstant(context, weights.indices, "indices", kTfLiteUInt8, bytes)) return why;
  const TfLiteTensor* codebook = TensorAt(context, weights.codebook);
  if (codebook == nullptr) return Refuse("the codebook is missing (tensor %d)", weights.codebook);
  const Shape shape = ShapeOf(*codebook);
  if (shape.size() != 1 || shape[0] < 1 || shape[0] > 1 << bits) {
    return Refuse("the codebook (tensor %d) is %s; expected 1 to %d centroids", weights.codebook,
                  TextOf(*codebook).c_str(), 1 << bits);
  }
  const bool int8_codebook = int8 || codebook->type == kTfLiteInt8;
  const int type = int8_codebook ? kTfLiteInt8 : kTfLiteFloat32;
  if (Refusal why = CheckConstant(context, weights.codebook, "centroids", type, static_cast<size_t>(shape[0])))
    return why;
  if (scales.flags == Flags::kScales) {
    return CheckConstant(context, weights.scale, "scales", kTfLiteFloat32, scales.rows);
  }
  if (!int8_codebook) {
    if (weights.scale == kAbsent) return {};
    return Refuse("there is a scale (tensor %d), which float32 centroids do not have", weights.scale);
  }
  const TfLiteTensor* scale = TensorAt(context, weights.scale);
  const bool one = scale == nullptr || ShapeOf(*scale) == Shape{1};
  return CheckConstant(context, weights.scale, "scales", kTfLiteFloat32, one ? 1 : scales.rows);
}

bool CopyFloatCentroids(const TfLiteContext& context, const PackedWeights& weights, int bits,
                        AlignedArray<float>* centroids) {
  const TfLiteTensor& codebook = context.tensors[weights.codebook];
  *centroids = AlignedArray<float>(size_t{1} << bits);
  if (centroids->data() == nullptr) return false;
  const TfLiteTensor* scales = TensorAt(context, weights.scale);
  const float scale = scales != nullptr && LengthOf(*scales) == 1 ? ValueAt<float>(*scales, 0) : 1.0F;
  for (size_t i = 0; i < LengthOf(codebook); ++i) {
    const bool int8 = codebook.type == kTfLiteInt8;
    (*centroids)[i] = scale * (int8 ? ValueAt<int8_t>(codebook, i) : ValueAt<float>(codebook, i));
  }
  return true;
}

}  // namespace tfcompress
