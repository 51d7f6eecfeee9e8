# What cpack packs for Debian: files where Debian wants them, and dependencies. Called as: cmake -DBUILD=.. -P package.cmake
include(${CMAKE_CURRENT_LIST_DIR}/scratch.cmake)

must_run(cpack --config ${BUILD}/CPackConfig.cmake -G DEB -B ${scratch})
file(GLOB package ${scratch}/difftune_*.deb)
must_run(dpkg-deb --contents ${package})
foreach(wanted bin/difftune include/difftune.h lib.*/libdifftune.so.0 share/man/man1/difftune.1.gz share/doc/difftune/copyright
        share/bash-completion/completions/difftune share/zsh/vendor-completions/_difftune
        share/difftune/recipes/food101.yaml)
  if(NOT out MATCHES "\\./usr/${wanted}\n" AND NOT out MATCHES "\\./usr/${wanted} ->")
    give_up("not packed: ${wanted}; there is:\n${out}")
  endif()
endforeach()
must_run(dpkg-deb --field ${package} Depends)
foreach(wanted libc6 libgomp1 libarchive13 libtiff6 libgif7 libavif15 liblapacke)
  if(NOT out MATCHES "(^|, )${wanted}[ ,\n]")
    give_up("no dependency on ${wanted}: ${out}")
  endif()
endforeach()
file(REMOVE_RECURSE ${scratch})
