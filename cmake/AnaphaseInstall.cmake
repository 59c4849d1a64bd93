# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` writes beside the program: libanaphase with its headers, the static
# libraries that it is made of with theirs, and what find_package(anaphase) and pkg-config find.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/anaphase)
set(libraries anaphase_options anaphase_kernels anaphase_io anaphase_engine anaphase_metrics anaphase_models)
foreach(optional anaphase_simt anaphase_kernels_simt anaphase_kernels_cuda)
  if(TARGET ${optional})
    list(APPEND libraries ${optional})
  endif()
endforeach()
install(TARGETS anaphase_shared EXPORT anaphase)
install(TARGETS anaphase_static EXPORT anaphase-static)
install(TARGETS ${libraries} EXPORT anaphase-models)
foreach(set anaphase anaphase-static anaphase-models)
  install(EXPORT ${set} NAMESPACE anaphase:: FILE ${set}-targets.cmake DESTINATION ${package_folder})
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/apps/embed/anaphase.h ${PROJECT_SOURCE_DIR}/apps/embed/anaphase.hpp
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
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

# Paths from the file itself, so that the tree can be installed anywhere and moved.
file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(private_libraries "-ldnnl -lfmt -lgomp -lstdc++ -lm -lpthread -ldl")
if(ANAPHASE_SIMT)
  string(APPEND private_libraries " -lboost_context")
endif()
if(ANAPHASE_CUDA)
  string(APPEND private_libraries " -lcudart_static -lrt")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/anaphase.pc.in ${PROJECT_BINARY_DIR}/anaphase.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/anaphase.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
