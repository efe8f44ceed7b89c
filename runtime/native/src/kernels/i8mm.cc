#define TFCOMPRESS_SET i8mm  // with the flags that CMakeLists.txt gives this file
#include "table.h"
