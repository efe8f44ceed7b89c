#define TFCOMPRESS_SET dotprod  // with the flags that CMakeLists.txt gives this file
#include "table.h"
