# Provides GTest::gtest and GTest::gtest_main: installed or, for another processor, built from Debian's sources
# (googletest).
find_package(GTest QUIET)
if(NOT GTest_FOUND)
  set(GOOGLETEST_DIR /usr/src/googletest CACHE PATH "Sources of GoogleTest")
  if(NOT EXISTS ${GOOGLETEST_DIR}/CMakeLists.txt)
    message(FATAL_ERROR "GoogleTest is missing: install it (libgtest-dev) or its sources (googletest), or pass -DGOOGLETEST_DIR")
  endif()
  set(BUILD_GMOCK OFF)
  set(INSTALL_GTEST OFF)
  add_subdirectory(${GOOGLETEST_DIR} googletest EXCLUDE_FROM_ALL SYSTEM)
endif()
