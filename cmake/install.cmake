# What is installed: program, man page, completion for shells, recipes, header, static and shared library, pkg-config file.

# Only dt_* leaves the shared library.
target_link_options(difftune_shared PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/difftune.map)
set_target_properties(difftune_shared PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/difftune.map)

set(DT_MAN_PAGE ${PROJECT_BINARY_DIR}/difftune.1)
add_custom_command(OUTPUT ${DT_MAN_PAGE}
  COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:difftune> -DPROJECT_VERSION=${PROJECT_VERSION}
    -DTEMPLATE=${PROJECT_SOURCE_DIR}/docs/difftune.1.in -DOUTPUT=${DT_MAN_PAGE} -P ${PROJECT_SOURCE_DIR}/cmake/man.cmake
  DEPENDS difftune docs/difftune.1.in cmake/man.cmake
  VERBATIM)
add_custom_target(man ALL DEPENDS ${DT_MAN_PAGE})

foreach(shell bash zsh)
  set(output ${PROJECT_BINARY_DIR}/completion.${shell})
  add_custom_command(OUTPUT ${output} COMMAND difftune completion ${shell} > ${output} DEPENDS difftune VERBATIM)
  list(APPEND DT_COMPLETIONS ${output})
endforeach()
add_custom_target(completion ALL DEPENDS ${DT_COMPLETIONS})

# What a program that links the static library needs besides.
string(JOIN " " DT_PRIVATE_LIBS ${DEPS_LDFLAGS} ${OpenMP_C_FLAGS} -lm -ldl)
# Relative, so that the tree may be installed anywhere or moved.
string(REGEX REPLACE "[^/]+" ".." DT_PREFIX_FROM_PC ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_file(cmake/difftune.pc.in difftune.pc @ONLY)

install(TARGETS difftune difftune_static difftune_shared)
foreach(module difftune_cuda difftune_nccl)
  if(TARGET ${module})
    install(TARGETS ${module} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
endforeach()
install(FILES include/difftune.h TYPE INCLUDE)
install(FILES ${PROJECT_BINARY_DIR}/difftune.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(DIRECTORY recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/difftune)
install(FILES ${DT_MAN_PAGE} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_BINARY_DIR}/completion.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
  RENAME difftune)
install(FILES ${PROJECT_BINARY_DIR}/completion.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions
  RENAME _difftune)
