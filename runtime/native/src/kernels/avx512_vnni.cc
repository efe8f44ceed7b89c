#define TFCOMPRESS_SET avx512_vnni  // with the flags that CMakeLists.txt gives this file
#include "table.h"
