# cmake --install into an empty folder, then a C program built there with pkg-config alone, against both libraries.
# Called as: cmake -DBUILD=.. -DEXAMPLE=usage_example.c -DCC=.. -DVERSION=.. -P install.cmake
include(${CMAKE_CURRENT_LIST_DIR}/scratch.cmake)

must_run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${scratch})
must_run(${CMAKE_CURRENT_LIST_DIR}/check_run_paths.sh ${scratch})
file(GLOB_RECURSE installed LIST_DIRECTORIES false RELATIVE ${scratch} ${scratch}/*)
foreach(wanted bin/difftune include/difftune.h share/man/man1/difftune.1 share/difftune/recipes/food101.yaml
        share/bash-completion/completions/difftune share/zsh/site-functions/_difftune lib.*/libdifftune.a lib.*/libdifftune.so
        lib.*/pkgconfig/difftune.pc)
  if(NOT installed MATCHES "(^|;)${wanted}(;|$)")
    give_up("not installed: ${wanted}; there is: ${installed}")
  endif()
endforeach()

file(GLOB_RECURSE pc ${scratch}/difftune.pc)
get_filename_component(pc_folder ${pc} DIRECTORY)
get_filename_component(lib_folder ${pc_folder} DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pc_folder})
set(ENV{LD_LIBRARY_PATH} ${lib_folder})
must_run(${scratch}/bin/difftune --version)
if(NOT out MATCHES "${VERSION}")
  give_up("installed program says: ${out}")
endif()

# The example needs a model that is not there: it must start, and fail by saying so.
function(build_and_start kind static)
  must_run(sh -c "${CC} ${EXAMPLE} -o ${scratch}/${kind} $(pkg-config ${static} --cflags --libs difftune)")
  execute_process(COMMAND ${scratch}/${kind} WORKING_DIRECTORY ${scratch} RESULT_VARIABLE code ERROR_VARIABLE err)
  if(code EQUAL 0 OR NOT err MATCHES "base.safetensors")
    give_up("${kind}: status ${code}: ${err}")
  endif()
endfunction()

build_and_start(shared "")
file(GLOB shared_libraries ${lib_folder}/libdifftune.so*)
file(REMOVE ${shared_libraries}) # the linker takes the static library where there is no shared one
build_and_start(static --static)
file(REMOVE_RECURSE ${scratch})
