# Objects compiled for one instruction set may define no weak functions: of equal ones in several objects the linker
# keeps any, and a processor without AVX-512 may get the AVX-512 form. Arguments: NM, OBJECTS.
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} -C --defined-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [Wwu] [^\n]*" weak "${symbols}")
  if(weak)
    message(SEND_ERROR "${object} defines weak functions:\n${weak}")
  endif()
endforeach()
