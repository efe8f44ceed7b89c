#define TFCOMPRESS_SET avx2_vnni  // with the flags that CMakeLists.txt gives this file
#include "table.h"
