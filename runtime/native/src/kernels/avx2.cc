#define TFCOMPRESS_SET avx2  // with the flags that CMakeLists.txt gives this file
#include "table.h"
