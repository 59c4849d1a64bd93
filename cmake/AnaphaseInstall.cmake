# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` writes beside the program: the static libraries with their headers, and the
# package that find_package(anaphase) finds.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/anaphase)
set(libraries anaphase_options anaphase_kernels anaphase_io anaphase_engine anaphase_metrics anaphase_models)
foreach(optional anaphase_simt anaphase_kernels_simt anaphase_kernels_cuda)
  if(TARGET ${optional})
    list(APPEND libraries ${optional})
  endif()
endforeach()
install(TARGETS ${libraries}
  EXPORT anaphase ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT anaphase NAMESPACE anaphase:: FILE anaphase-targets.cmake DESTINATION ${package_folder})
foreach(folder kernels io engine models)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/anaphase
    FILES_MATCHING PATTERN *.hpp)
endforeach()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/anaphase-config.cmake.in
  ${PROJECT_BINARY_DIR}/anaphase-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/anaphase-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/anaphase-config.cmake ${PROJECT_BINARY_DIR}/anaphase-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindNIFTI.cmake DESTINATION ${package_folder})
