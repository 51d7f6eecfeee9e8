# Fills the man page's template with the sections that PROGRAM makes from its table of settings.
execute_process(COMMAND ${PROGRAM} help --roff OUTPUT_VARIABLE SECTIONS COMMAND_ERROR_IS_FATAL ANY)
string(STRIP "${SECTIONS}" SECTIONS)
configure_file(${TEMPLATE} ${OUTPUT} @ONLY)
