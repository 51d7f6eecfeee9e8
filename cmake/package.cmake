# cpack -G DEB makes the package for Debian. What it depends on is read from the program and the library themselves.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME difftune)
set(CPACK_PACKAGE_CONTACT "difftune's authors <difftune@localhost>")
set(CPACK_PACKAGE_DESCRIPTION "difftune tunes a pre-trained diffusion model (DiT, SiT, Stable Diffusion's UNet, ControlNet) to a folder
of images by Diff-Tuning, draws samples, measures distances and writes reports. The package has
the program with its manual page and completion for shells, the library with its
header, and the recipes of the published data sets.")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION graphics)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
if(TARGET difftune_cuda)
  # What the CUDA engine needs comes with NVIDIA's driver and toolkit, not with packages: dpkg-shlibdeps must find the libraries,
  # and makes no dependencies of them. The toolkit's stand-in for the driver lacks the name that programs are linked with.
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/driver)
  file(CREATE_LINK ${CUDA_cuda_driver_LIBRARY} ${PROJECT_BINARY_DIR}/driver/libcuda.so.1 SYMBOLIC)
  get_filename_component(cublas_folder ${CUDA_cublasLt_LIBRARY} DIRECTORY)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/driver ${cublas_folder})
  if(TARGET difftune_nccl)
    get_filename_component(nccl_folder ${DT_NCCL_LIBRARY} DIRECTORY)
    list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${nccl_folder})
  endif()
endif()
# A faster LAPACK for distances, and letters for the names of classes under samples.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libopenblas0, fonts-dejavu-core")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/packaging/debian_layout.cmake)
include(CPack)
