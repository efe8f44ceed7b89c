# Debian's clang for 64-bit Android, API 24, given ANDROID_ABI. CMake's own support for Android wants an NDK.
set(CMAKE_SYSTEM_NAME Linux)
set(ANDROID ON)
set(processor_arm64-v8a aarch64)
set(processor_x86_64 x86_64)
set(CMAKE_SYSTEM_PROCESSOR ${processor_${ANDROID_ABI}})
set(CMAKE_CXX_COMPILER clang++)
set(CMAKE_CXX_COMPILER_TARGET ${CMAKE_SYSTEM_PROCESSOR}-linux-android24)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # There is nothing to link with yet.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ANDROID_ABI)
set(CMAKE_HAVE_LIBC_PTHREAD ON)
