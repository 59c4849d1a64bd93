// SPDX-License-Identifier: Apache-2.0
#include "apps/build.hpp"

#include <fmt/format.h>

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/common/memory.hpp"
#include "kernels/common/version.hpp"

namespace anaphase::apps {
namespace {

std::string instruction_set() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
      return "SSE4.1";
    case dnnl::cpu_isa::avx:
      return "AVX";
    case dnnl::cpu_isa::avx2:
      return "AVX2";
    case dnnl::cpu_isa::avx512_core:
      return "AVX-512";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "AVX-512 with VNNI";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "AVX-512 with bf16";
    default:
      return fmt::format("oneDNN's number {:#x}",
                         static_cast<unsigned>(dnnl::get_effective_cpu_isa()));
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> build_facts() {
#ifdef __clang__
  constexpr const char* compiler = __VERSION__;
#else
  constexpr const char* compiler = "GCC " __VERSION__;
#endif
  const dnnl_version_t& onednn = *dnnl_version();
  return {{"anaphase", version},
          {"compiler", compiler},
          {"build", fmt::format("{}, for {}", ANAPHASE_BUILD_TYPE,
                                ANAPHASE_NATIVE ? "the processor of the build machine"
                                                : "any processor of its kind")},
          {"oneDNN", fmt::format("{}.{}.{}, uses {}", onednn.major, onednn.minor, onednn.patch,
                                 instruction_set())},
          {"precisions", kernels::computes_in(kernels::Stream{}, kernels::DType::bf16)
                             ? "f32, bf16"
                             : "f32 (bf16 on the CPU needs AVX-512)"}};
}

}  // namespace anaphase::apps
