# cmake --install into an empty folder, then a C program built there with pkg-config alone, against both libraries.
# Called as: cmake -DBUILD=.. -DEXAMPLE=usage_example.c -DCC=.. -DVERSION=.. -P install.cmake
set(tmp $ENV{TMPDIR})
if(NOT tmp)
  set(tmp /tmp)
endif()
string(RANDOM LENGTH 12 suffix)
set(prefix ${tmp}/difftune-install-${suffix})

function(give_up)
  file(REMOVE_RECURSE ${prefix})
  message(FATAL_ERROR ${ARGN})
endfunction()

function(must_run)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE out ERROR_VARIABLE err RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " command)
    give_up("${command}: ${code}\n${out}${err}")
  endif()
  set(out "${out}" PARENT_SCOPE)
endfunction()

must_run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
must_run(${CMAKE_CURRENT_LIST_DIR}/check_run_paths.sh ${prefix})
file(GLOB_RECURSE installed LIST_DIRECTORIES false RELATIVE ${prefix} ${prefix}/*)
foreach(wanted bin/difftune include/difftune.h share/man/man1/difftune.1 share/difftune/recipes/food101.yaml
        share/bash-completion/completions/difftune share/zsh/site-functions/_difftune lib.*/libdifftune.a lib.*/libdifftune.so
        lib.*/pkgconfig/difftune.pc)
  if(NOT installed MATCHES "(^|;)${wanted}(;|$)")
    give_up("not installed: ${wanted}; there is: ${installed}")
  endif()
endforeach()

file(GLOB_RECURSE pc ${prefix}/difftune.pc)
get_filename_component(pc_folder ${pc} DIRECTORY)
get_filename_component(lib_folder ${pc_folder} DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pc_folder})
set(ENV{LD_LIBRARY_PATH} ${lib_folder})
must_run(${prefix}/bin/difftune --version)
if(NOT out MATCHES "${VERSION}")
  give_up("installed program says: ${out}")
endif()

# The example needs a model that is not there: it must start, and fail by saying so.
function(build_and_start kind static)
  must_run(sh -c "${CC} ${EXAMPLE} -o ${prefix}/${kind} $(pkg-config ${static} --cflags --libs difftune)")
  execute_process(COMMAND ${prefix}/${kind} WORKING_DIRECTORY ${prefix} RESULT_VARIABLE code ERROR_VARIABLE err)
  if(code EQUAL 0 OR NOT err MATCHES "base.safetensors")
    give_up("${kind}: status ${code}: ${err}")
  endif()
endfunction()

build_and_start(shared "")
file(GLOB shared_libraries ${lib_folder}/libdifftune.so*)
file(REMOVE ${shared_libraries}) # the linker takes the static library where there is no shared one
build_and_start(static --static)
file(REMOVE_RECURSE ${prefix})
