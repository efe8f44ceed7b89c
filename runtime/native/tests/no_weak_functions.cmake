# Objects that are compiled for one instruction set must not define weak functions. If several objects define the same
# one, the linker keeps any of them, so a processor without AVX-512 might get the one for AVX-512. Arguments: NM, OBJECTS.
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} -C --defined-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [Wwu] [^\n]*" weak "${symbols}")
  if(weak)
    message(SEND_ERROR "${object} defines weak functions:\n${weak}")
  endif()
endforeach()
