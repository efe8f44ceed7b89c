#include "operators/registry.h"

#include <cstring>

#include "operators/attention.h"
#include "operators/dense.h"
#include "operators/embedding.h"
#include "operators/layer_norm.h"

namespace tfcompress {
namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Operator> (*make)(int node);
};

template <typename T>
constexpr Entry EntryOf() {
  return {T::kName, [](int node) -> std::unique_ptr<Operator> { return std::make_unique<T>(node); }};
}

constexpr Entry kOperators[] = {EntryOf<DenseOperator>(), EntryOf<EmbeddingOperator>(), EntryOf<AttentionOperator>(),
                                EntryOf<LayerNormOperator>()};

}  // namespace

std::unique_ptr<Operator> MakeOperator(const TfLiteRegistration& registration, int node) {
  if (registration.custom_name == nullptr) return nullptr;
  for (const Entry& entry : kOperators) {
    if (strcmp(registration.custom_name, entry.name) == 0) return entry.make(node);
  }
  return nullptr;
}

}  // namespace tfcompress
