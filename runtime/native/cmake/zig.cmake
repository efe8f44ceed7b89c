# Builds for Linux with glibc 2.27 or later with the compiler of PyPI's ziglang, which brings all that it links:
#   ZIG=PATH ZIG_TARGET=x86_64|aarch64 cmake -S . -B out --toolchain cmake/zig.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $ENV{ZIG_TARGET})
set(CMAKE_CXX_COMPILER $ENV{ZIG} c++)
set(CMAKE_CXX_COMPILER_LAUNCHER "")  # ccache takes `zig` for the compiler, and `c++` for a file.
set(CMAKE_CXX_COMPILER_TARGET ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu.2.27)
# zig compiles the C++ library when it links with it, which takes minutes: once for the runtime, and once for the
# programs by which CMake tries the compiler.
set(TFCOMPRESS_LIBCXX_HEADERS ON)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-s -nostdlib++")  # zig's optimized programs have debugging information, too.
