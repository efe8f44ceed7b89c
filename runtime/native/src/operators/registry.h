// All operators of a packed file, by the names that the file gives them.
#pragma once

#include <memory>

#include "operators/operator.h"

namespace tfcompress {

// Makes the operator that `registration` names, for node `node`; null if it is not one of ours.
std::unique_ptr<Operator> MakeOperator(const TfLiteRegistration& registration, int node);

}  // namespace tfcompress
