# Ranks over MPI: a module that the library loads when it was started as several processes (src/rank/rank.c), so that the program
# itself needs no MPI. Only where it is asked for: a package then depends on that MPI.
if(NOT DT_MPI OR DT_SANITIZE)
  return()
endif()
find_package(MPI REQUIRED COMPONENTS C)
add_library(difftune_mpi MODULE src/mpi/wire_mpi.c src/base/error.c src/base/text.c)
target_include_directories(difftune_mpi PRIVATE include src)
target_compile_definitions(difftune_mpi PRIVATE _GNU_SOURCE)
set_target_properties(difftune_mpi PROPERTIES C_VISIBILITY_PRESET hidden LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_link_options(difftune_mpi PRIVATE -Wl,--no-undefined)
target_link_libraries(difftune_mpi PRIVATE MPI::MPI_C)
install(TARGETS difftune_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
