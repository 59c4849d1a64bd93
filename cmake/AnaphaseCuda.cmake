# SPDX-License-Identifier: Apache-2.0
# Whether the CUDA kernels are built for CUDA devices (ANAPHASE_CUDA: AUTO, ON or OFF), and how.
set(ANAPHASE_CUDA AUTO CACHE STRING "Build for CUDA devices: AUTO (if nvcc is found), ON or OFF")
set_property(CACHE ANAPHASE_CUDA PROPERTY STRINGS AUTO ON OFF)

option(ANAPHASE_CUB "Build reductions by CUB too, to compare with (CUDA 13)" OFF)

if(ANAPHASE_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(ANAPHASE_CUDA ON)
  else()
    set(ANAPHASE_CUDA OFF)
  endif()
endif()
if(ANAPHASE_CUDA)
  # Machine code for compute capability 7.5, 8.x and 9.0, and PTX that newer devices compile when the
  # program starts. The preset `cuda` lists all.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90)
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit 12 REQUIRED)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    # CMake 3.25.1 does not know yet that nvcc 12 has C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  message(STATUS "CUDA kernels: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
else()
  message(STATUS "CUDA kernels: no (nvcc was not found or ANAPHASE_CUDA is OFF)")
endif()

# anaphase_cuda_target(TARGET): how nvcc compiles a target's .cu files.
function(anaphase_cuda_target target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    --expt-relaxed-constexpr --extended-lambda -Xptxas=-warn-spills
    $<$<BOOL:${ANAPHASE_WERROR}>:-Werror=all-warnings -Xptxas=-Werror>>)
endfunction()
