# The usage example at the top of difftune.h becomes usage_example.c, which test_usage_example includes and which the
# test of the installed library builds.
set(header ${PROJECT_SOURCE_DIR}/include/difftune.h)
set(example ${CMAKE_CURRENT_BINARY_DIR}/usage_example.c)
add_custom_command(OUTPUT ${example}
  COMMAND sed -n -e "/^ \\*\\//q" -e "s/^ \\*     //p" ${header} > ${example}
  DEPENDS ${header}
  VERBATIM)
target_sources(test_usage_example PRIVATE ${example})
set_source_files_properties(${example} PROPERTIES HEADER_FILE_ONLY ON)
target_include_directories(test_usage_example PRIVATE ${CMAKE_CURRENT_BINARY_DIR})

# A program without the sanitizers' run time cannot be linked with a library that has them.
if(NOT DT_SANITIZE)
  add_test(NAME install COMMAND ${CMAKE_COMMAND} -DBUILD=${PROJECT_BINARY_DIR} -DEXAMPLE=${example} -DCC=${CMAKE_C_COMPILER}
    -DVERSION=${PROJECT_VERSION} -P ${CMAKE_CURRENT_SOURCE_DIR}/install.cmake)
endif()
