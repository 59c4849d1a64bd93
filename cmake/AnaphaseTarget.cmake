# SPDX-License-Identifier: Apache-2.0
# What every target of the project shares: include root, warnings, sanitizers, processor.
add_library(anaphase_options INTERFACE)
target_include_directories(anaphase_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/anaphase>)
target_compile_features(anaphase_options INTERFACE cxx_std_20)
# Sums keep the order they are written in (no -ffast-math): results do not depend on the optimiser.
# Square roots need no errno and arithmetic no traps, which is what lets loops vectorise.
target_compile_options(anaphase_options INTERFACE $<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CXX>:
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>  # GCC 12 reports string concatenation wrongly (its bug 105651)
  -fno-math-errno -fno-trapping-math
  $<$<BOOL:${ANAPHASE_WERROR}>:-Werror>
  $<$<BOOL:${ANAPHASE_NATIVE}>:-march=native>>>)
if(ANAPHASE_SANITIZE)
  list(JOIN ANAPHASE_SANITIZE "," sanitizers)
  target_compile_options(anaphase_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:
    -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1>)
  target_link_options(anaphase_options INTERFACE -fsanitize=${sanitizers})
endif()
if(ANAPHASE_FUZZ)
  target_compile_options(anaphase_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# anaphase_library(NAME source... LINK library...): a static library `anaphase_NAME`, alias `anaphase::NAME`.
function(anaphase_library name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(anaphase_${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  add_library(anaphase::${name} ALIAS anaphase_${name})
  target_link_libraries(anaphase_${name} PUBLIC anaphase_options ${arg_LINK})
  set_target_properties(anaphase_${name} PROPERTIES EXPORT_NAME ${name})
  if(NOT ANAPHASE_SANITIZE)  # libanaphase takes single objects, so that it needs no libtiff
    set_target_properties(anaphase_${name} PROPERTIES UNITY_BUILD OFF)
  endif()
endfunction()
