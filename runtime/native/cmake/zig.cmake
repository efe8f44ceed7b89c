# Builds for Linux with glibc 2.27 or later with the compiler of PyPI's ziglang, which brings all that it links:
#   ZIG=PATH ZIG_TARGET=x86_64|aarch64 cmake -S . -B out --toolchain cmake/zig.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $ENV{ZIG_TARGET})
set(CMAKE_CXX_COMPILER $ENV{ZIG} c++)
set(CMAKE_CXX_COMPILER_TARGET ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu.2.27)
# Linking a test program would compile the C++ library once more, without optimization.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_SHARED_LINKER_FLAGS_INIT -s)  # Its optimized programs have debugging information, too.
