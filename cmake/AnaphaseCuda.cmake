# SPDX-License-Identifier: Apache-2.0
# Whether the CUDA kernels are built for CUDA devices (ANAPHASE_CUDA: AUTO, ON or OFF), and how.
set(ANAPHASE_CUDA AUTO CACHE STRING "Build for CUDA devices: AUTO (if nvcc is found), ON or OFF")
set_property(CACHE ANAPHASE_CUDA PROPERTY STRINGS AUTO ON OFF)

# NVIDIA's libraries behind the contracts of our kernels, for tests and benchmarks to compare with.
option(ANAPHASE_CUB "Build reductions by CUB too, to compare with (CUDA 13)" OFF)
option(ANAPHASE_CUDNN "Build convolution and attention by cuDNN too, to compare with (9.13 or later)" OFF)
option(ANAPHASE_CUBLAS "Build matrix products by cuBLAS too, to compare with" OFF)

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

if(NOT ANAPHASE_CUDA AND (ANAPHASE_CUB OR ANAPHASE_CUDNN OR ANAPHASE_CUBLAS))
  message(FATAL_ERROR "ANAPHASE_CUB, ANAPHASE_CUDNN and ANAPHASE_CUBLAS compare with CUDA kernels, which are "
    "not built here: install nvcc and set -DANAPHASE_CUDA=ON, or leave those three out")
endif()
if(ANAPHASE_CUDNN)
  find_path(CUDNN_INCLUDE_DIR cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(NOT CUDNN_INCLUDE_DIR OR NOT CUDNN_LIBRARY)
    message(FATAL_ERROR "ANAPHASE_CUDNN is ON and cuDNN was not found: install cuDNN 9 with its headers, name "
      "its folder with -DCMAKE_PREFIX_PATH=FOLDER, or set -DANAPHASE_CUDNN=OFF")
  endif()
  file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h cudnn_version REGEX "define CUDNN_(MAJOR|MINOR) ")
  list(TRANSFORM cudnn_version REPLACE "[^0-9]" "")
  list(JOIN cudnn_version "." cudnn_version)
  if(cudnn_version VERSION_LESS 9.13)
    message(FATAL_ERROR "ANAPHASE_CUDNN is ON and cuDNN ${cudnn_version} in ${CUDNN_INCLUDE_DIR} is too old: "
      "install 9.13 or later, or set -DANAPHASE_CUDNN=OFF")
  endif()
  message(STATUS "cuDNN ${cudnn_version}, to compare with: ${CUDNN_LIBRARY}")
endif()
if(ANAPHASE_CUBLAS AND NOT TARGET CUDA::cublasLt)
  message(FATAL_ERROR "ANAPHASE_CUBLAS is ON and cuBLASLt was not found beside nvcc: install cuBLAS of the CUDA "
    "Toolkit, or set -DANAPHASE_CUBLAS=OFF")
endif()

# anaphase_cuda_target(TARGET): how nvcc compiles a target's .cu files.
function(anaphase_cuda_target target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    --expt-relaxed-constexpr --extended-lambda -Xptxas=-warn-spills
    $<$<BOOL:${ANAPHASE_WERROR}>:-Werror=all-warnings -Xptxas=-Werror>>)
endfunction()
