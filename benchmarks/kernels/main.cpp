// SPDX-License-Identifier: Apache-2.0
// bench_kernels: every option of Google Benchmark, such as --benchmark_filter=conv3x3.*bf16.
#include "benchmarks/kernels/bench.hpp"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  anaphase::bench::add_attention();
  anaphase::bench::add_conv();
  anaphase::bench::add_group_norm();
  anaphase::bench::add_random();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
