# For tests that are CMake scripts: an empty name below TMPDIR in `scratch`, and what runs commands and removes it at a failure.
set(scratch $ENV{TMPDIR})
if(NOT scratch)
  set(scratch /tmp)
endif()
string(RANDOM LENGTH 12 suffix)
string(APPEND scratch /difftune-test-${suffix})

function(give_up)
  file(REMOVE_RECURSE ${scratch})
  message(FATAL_ERROR ${ARGN})
endfunction()

# Sets `out` to what the command printed.
function(must_run)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE out ERROR_VARIABLE err RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " command)
    give_up("${command}: ${code}\n${out}${err}")
  endif()
  set(out "${out}" PARENT_SCOPE)
endfunction()
