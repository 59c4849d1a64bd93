# SPDX-License-Identifier: Apache-2.0
# niftilib's NIfTI-2 reader (which reads NIfTI-1 too) as the target NIFTI::NIFTI.
find_path(NIFTI_INCLUDE_DIR nifti2_io.h PATH_SUFFIXES nifti)
find_library(NIFTI_LIBRARY nifti2)
find_library(NIFTI_ZNZ_LIBRARY znz)
mark_as_advanced(NIFTI_INCLUDE_DIR NIFTI_LIBRARY NIFTI_ZNZ_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NIFTI
  REQUIRED_VARS NIFTI_LIBRARY NIFTI_ZNZ_LIBRARY NIFTI_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install libnifti-dev")

if(NIFTI_FOUND AND NOT TARGET NIFTI::NIFTI)
  add_library(NIFTI::NIFTI INTERFACE IMPORTED)
  target_include_directories(NIFTI::NIFTI INTERFACE ${NIFTI_INCLUDE_DIR})
  target_link_libraries(NIFTI::NIFTI INTERFACE ${NIFTI_LIBRARY} ${NIFTI_ZNZ_LIBRARY})
endif()
