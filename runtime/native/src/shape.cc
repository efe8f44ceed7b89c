#include "shape.h"

namespace tfcompress {

Refusal CountElements(const Shape& shape, size_t* count) {
  int64_t product = 1;
  for (int length : shape) {
    if (length < 0) return Refuse("the shape %s has a negative length", TextOf(shape).c_str());
    // Even if a later length is 0, which would make the product small: TFLite refuses that too.
    if (length > 0 && product > kMostElements / length) {
      return Refuse("the shape %s has more than %lld elements", TextOf(shape).c_str(),
                    static_cast<long long>(kMostElements));
    }
    product *= length;
  }
  *count = static_cast<size_t>(product);
  return {};
}

int RowsOf(const Shape& shape, int width) {
  size_t elements = 0;
  CountElements(shape, &elements);
  return static_cast<int>(elements / static_cast<size_t>(width));
}

Shape ShapeOf(const TfLiteTensor& tensor) {
  if (tensor.dims == nullptr) return {};
  return Shape(tensor.dims->data, tensor.dims->data + tensor.dims->size);
}

std::string TextOf(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i == 8) return text + ", ...)";
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + ")";
}

std::string TextOf(const TfLiteTensor& tensor) { return TypeText(tensor.type) + " " + TextOf(ShapeOf(tensor)); }

std::string TypeText(int type) {
  switch (type) {
    case kTfLiteFloat32:
      return "float32";
    case kTfLiteInt32:
      return "int32";
    case kTfLiteUInt8:
      return "uint8";
    case kTfLiteInt8:
      return "int8";
    default:
      return "type " + std::to_string(type);
  }
}

size_t TypeBytes(int type) {
  switch (type) {
    case kTfLiteFloat32:
    case kTfLiteInt32:
      return 4;
    case kTfLiteUInt8:
    case kTfLiteInt8:
      return 1;
    default:
      return 0;
  }
}

}  // namespace tfcompress
