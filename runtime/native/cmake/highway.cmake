# Sets HIGHWAY_INCLUDE_DIR to the folder of Google Highway's headers (hwy/highway.h, 1.1 or later); nothing else of it is
# needed. The first of these is used: the folder that the caller passes, an installed Highway, the headers in the tensorflow
# package, the release on GitHub.

if(NOT EXISTS "${HIGHWAY_INCLUDE_DIR}/hwy/highway.h")
  unset(HIGHWAY_INCLUDE_DIR CACHE)  # An earlier run may have found a folder that no longer exists.
  find_package(hwy 1.1 QUIET CONFIG)
  if(hwy_FOUND)
    get_target_property(HIGHWAY_INCLUDE_DIR hwy::hwy INTERFACE_INCLUDE_DIRECTORIES)
  endif()
endif()

if(NOT HIGHWAY_INCLUDE_DIR)
  # Try the Python that runs the build, the active environment, the one that `make install` created, then any other.
  find_program(TFCOMPRESS_ANY_PYTHON NAMES python3 python)
  foreach(python ${Python_EXECUTABLE} $ENV{VIRTUAL_ENV}/bin/python ${PROJECT_SOURCE_DIR}/../../.venv/bin/python ${TFCOMPRESS_ANY_PYTHON})
    # Importing tensorflow would take seconds. In an isolated build only sysconfig knows where the packages are.
    execute_process(
      COMMAND ${python} -c "
import importlib.util, pathlib, sysconfig
spec = importlib.util.find_spec('tensorflow')
found = list(spec.submodule_search_locations) if spec else [sysconfig.get_path('purelib') + '/tensorflow']
print(pathlib.Path(found[0]) / 'include' / 'external' / 'com_google_highway')"
      OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(EXISTS "${folder}/hwy/highway.h")
      set(HIGHWAY_INCLUDE_DIR ${folder})
      break()
    endif()
  endforeach()
endif()

if(NOT HIGHWAY_INCLUDE_DIR)
  # FetchContent would retry for a minute if there is no network.
  set(archive ${CMAKE_BINARY_DIR}/highway-1.3.0.tar.gz)
  file(DOWNLOAD https://github.com/google/highway/archive/refs/tags/1.3.0.tar.gz ${archive} TIMEOUT 60 STATUS status)
  set(sha256 "none")
  if(status MATCHES "^0")
    file(SHA256 ${archive} sha256)
  endif()
  if(NOT sha256 STREQUAL "07b3c1ba2c1096878a85a31a5b9b3757427af963b1141ca904db2f9f4afe0bc2")
    file(REMOVE ${archive})
    message(FATAL_ERROR "Google Highway is missing: install it (libhwy-dev), install tensorflow, or pass -DHIGHWAY_INCLUDE_DIR")
  endif()
  file(ARCHIVE_EXTRACT INPUT ${archive} DESTINATION ${CMAKE_BINARY_DIR})
  set(HIGHWAY_INCLUDE_DIR ${CMAKE_BINARY_DIR}/highway-1.3.0)
endif()

set(HIGHWAY_INCLUDE_DIR ${HIGHWAY_INCLUDE_DIR} CACHE PATH "The folder that has hwy/highway.h" FORCE)
message(STATUS "Google Highway: ${HIGHWAY_INCLUDE_DIR}")
