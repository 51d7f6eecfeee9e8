# Run by cpack on the tree it is about to pack: what Debian wants in another place or form than other systems.
set(share ${CPACK_TEMPORARY_INSTALL_DIRECTORY}${CPACK_PACKAGING_INSTALL_PREFIX}/share)
file(MAKE_DIRECTORY ${share}/doc/difftune)
file(COPY_FILE ${CPACK_RESOURCE_FILE_LICENSE} ${share}/doc/difftune/copyright)
file(MAKE_DIRECTORY ${share}/zsh/vendor-completions) # Debian's zsh does not look in /usr/share/zsh/site-functions
file(RENAME ${share}/zsh/site-functions/_difftune ${share}/zsh/vendor-completions/_difftune)
file(REMOVE_RECURSE ${share}/zsh/site-functions)
execute_process(COMMAND gzip -9n ${share}/man/man1/difftune.1 COMMAND_ERROR_IS_FATAL ANY)
