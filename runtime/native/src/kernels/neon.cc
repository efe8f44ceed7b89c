#define TFCOMPRESS_SET neon  // with the flags that CMakeLists.txt gives this file
#include "table.h"
