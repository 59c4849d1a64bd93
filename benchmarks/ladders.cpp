// SPDX-License-Identifier: Apache-2.0
// bench_ladders: times every rung of the ladders of GPU kernels (convolution, group norm,
// attention, reverse diffusion step) on layers of the U-Net, what `run` chooses, and the library
// that it is measured against where this build has it; also operations that have a library and no
// ladder.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "benchmarks/comparison.hpp"
#include "kernels/attention/attention_cudnn.hpp"
#include "kernels/attention/ladder.hpp"
#include "kernels/common/gpu_runtime.hpp"
#include "kernels/common/yardsticks.hpp"
#include "kernels/conv/conv_cudnn.hpp"
#include "kernels/conv/ladder.hpp"
#include "kernels/diffusion/ladder.hpp"
#include "kernels/group_norm/ladder.hpp"
#include "kernels/linear/linear_cublas.hpp"
#include "kernels/reduce/sum_cub.hpp"

namespace anaphase::bench {
namespace {

using namespace kernels;

template <class Operation>
double time_chosen(const Options& options, const Operation& op) {
  return time_with_workspace(options, workspace_bytes(options.stream, op), op,
                             [&](const Operation& o) { launch(options.stream, o); });
}

// Convolution

/// v3 or v4 with the fastest of their tiles, and one, 4 or 16 parts of the sums.
template <class Operation, class Rung>
void add_fastest_tiling(const Options& options, Comparison& comparison, const Operation& op,
                        const char* name, const char* idea, Rung&& rung) {
  double least = std::numeric_limits<double>::infinity();
  conv_ladder::Tiling best;
  for (conv_ladder::Tiling tiling : conv_ladder::tiles)
    for (tiling.splits = 1; tiling.splits <= 16; tiling.splits *= 4) {
      const double us = time_with_workspace(options, conv_ladder::workspace_bytes(op, tiling), op,
                                            [&](const Operation& o) { rung(o, tiling); });
      if (us >= least) continue;
      least = us;
      best = tiling;
    }
  comparison.add(name, fmt::format("{}, {}x{}/{}", idea, best.rows, best.columns, best.splits),
                 least);
}

template <class Device, class Operation>
void add_conv_yardstick(const Options& options, Comparison& comparison, Device device,
                        const Operation& op) {
  if constexpr (has_cudnn && std::is_same_v<Device, Cuda>)
    if (conv_cudnn_takes(device, op))
      comparison.add_yardstick(
          "cuDNN", time_with_workspace(options, conv_cudnn_workspace_bytes(device, op), op,
                                       [&](const Operation& o) { conv_cudnn(device, o); }));
}

template <class Device, class Operation>
void compare_conv(const Options& options, Device device, const char* name, const Operation& op) {
  const ConvShape& s = op.shape;
  Comparison comparison(options, name,
                        fmt::format("{}x{} px, {} -> {}, {}x{}/{}", s.h, s.w, s.c_in, s.c_out,
                                    s.kernel_h, s.kernel_w, s.stride_h),
                        flop_count(op), "GFLOP/s");
  if constexpr (!std::is_same_v<Operation, ConvWeightGradient>) {
    comparison.add("v1_direct", "a thread an element",
                   time_of(options, [&] { conv_ladder::v1_direct(device, op); }));
    comparison.add("v2_tiled", "tiles in shared memory and registers",
                   time_of(options, [&] { conv_ladder::v2_tiled(device, op); }));
    add_fastest_tiling(options, comparison, op, "v3_pipelined", "copies beside arithmetic",
                       [&](const Operation& o, conv_ladder::Tiling tiling) {
                         conv_ladder::v3_pipelined(device, o, tiling);
                       });
    if (options.architecture >= 80 && (options.type == DType::bf16 || options.tf32))
      add_fastest_tiling(options, comparison, op, "v4_tensor_core", "matrix instructions",
                         [&](const Operation& o, conv_ladder::Tiling tiling) {
                           conv_ladder::v4_tensor_core(device, o, tiling);
                         });
  }
  comparison.add_chosen(time_chosen(options, op));
  add_conv_yardstick(options, comparison, device, op);
  comparison.print();
}

template <class Device>
void compare_layer(const Options& options, Device device, int px, int in, int out, int kernel,
                   int stride) {
  const ConvShape s{.n = options.batch,
                    .h = px,
                    .w = px,
                    .c_in = in,
                    .c_out = out,
                    .kernel_h = kernel,
                    .kernel_w = kernel,
                    .stride_h = stride,
                    .stride_w = stride,
                    .pad_h = kernel / 2,
                    .pad_w = kernel / 2};
  const std::size_t weights = std::size_t{1} * s.c_out * s.kernel_h * s.kernel_w * s.c_in;
  const Buffer x(options.stream, options.element() * s.n * s.h * s.w * s.c_in);
  const Buffer y(options.stream, options.element() * s.n * s.out_h() * s.out_w() * s.c_out);
  const Buffer weight(options.stream, options.element() * weights);
  const Buffer dweight(options.stream, sizeof(float) * weights);
  compare_conv(options, device, "convolution",
               ConvForward{.shape = s,
                           .type = options.type,
                           .allow_tf32 = options.tf32,
                           .x = x.get(),
                           .weight = weight.get(),
                           .y = y.get()});
  compare_conv(options, device, "convolution's input gradient",
               ConvInputGradient{.shape = s,
                                 .type = options.type,
                                 .allow_tf32 = options.tf32,
                                 .dy = y.get(),
                                 .weight = weight.get(),
                                 .dx = x.get()});
  compare_conv(options, device, "convolution's weight gradient",
               ConvWeightGradient{.shape = s,
                                  .type = options.type,
                                  .allow_tf32 = options.tf32,
                                  .x = x.get(),
                                  .dy = y.get(),
                                  .dweight = dweight.get()});
}

template <class Device>
void compare_convolutions(const Options& options, Device device) {
  const auto compare = [&](int px, int in, int out, int kernel, int stride) {
    compare_layer(options, device, px, in, out, kernel, stride);
  };
  compare(options.size, 3, options.width, 3, 1);
  for (int level = 0; level < 4; ++level) {
    const int channels = options.width << level, px = std::max(options.size >> level, 1);
    compare(px, channels, channels, 3, 1);
    compare(px, 2 * channels, channels, 1, 1);
    if (level < 3) compare(px, channels, channels, 3, 2);
  }
  compare(options.size, options.width, 2, 3, 1);
}

// Group norm

template <class Operation>
void compare_group_norm(const Options& options, const char* name, const Operation& op,
                        int tensors) {
  constexpr const char* ideas[] = {"a block a group", "several groups a block, 16 bytes a thread",
                                   "a slab stays in registers", "several blocks share a slab"};
  const GroupNormShape& s = op.shape;
  const double elements = 1.0 * s.n * static_cast<double>(s.pixels) * s.channels;
  Comparison comparison(
      options, name,
      fmt::format("{} x {} px, {} channels in {} groups", s.n, s.pixels, s.channels, s.groups),
      tensors * elements * static_cast<double>(options.element()), "GB/s");
  for (const auto& [rung, rung_name] : group_norm::ladder)
    if (group_norm::takes(rung, op))
      comparison.add(rung_name, ideas[static_cast<int>(rung)],
                     time_chosen(options, group_norm::ByRung{op, rung}));
  comparison.add_chosen(time_chosen(options, op));
  comparison.print();
}

void compare_group_norms(const Options& options) {
  for (int level = 0; level < 4; ++level) {
    const int px = std::max(options.size >> level, 1);
    const GroupNormShape s{.n = options.batch,
                           .pixels = std::int64_t{px} * px,
                           .channels = options.width << level,
                           .groups = 8};
    const std::size_t bytes = options.element() * s.n * s.pixels * s.channels;
    const std::size_t floats = sizeof(float) * s.n * s.channels;
    const Buffer x(options.stream, bytes), y(options.stream, bytes), dy(options.stream, bytes);
    const Buffer gamma(options.stream, floats), beta(options.stream, floats),
        dgamma(options.stream, floats), dbeta(options.stream, floats), mean(options.stream, floats),
        rstd(options.stream, floats);
    compare_group_norm(options, "group norm + SiLU",
                       GroupNormForward{.shape = s,
                                        .type = options.type,
                                        .x = x.get(),
                                        .gamma = gamma.get(),
                                        .beta = beta.get(),
                                        .activation = Activation::silu,
                                        .y = y.get(),
                                        .mean = mean.get(),
                                        .rstd = rstd.get()},
                       2);
    compare_group_norm(options, "group norm + SiLU, backward",
                       GroupNormBackward{.shape = s,
                                         .type = options.type,
                                         .x = x.get(),
                                         .gamma = gamma.get(),
                                         .beta = beta.get(),
                                         .activation = Activation::silu,
                                         .mean = mean.get(),
                                         .rstd = rstd.get(),
                                         .dy = dy.get(),
                                         .dx = y.get(),
                                         .dgamma = dgamma.get(),
                                         .dbeta = dbeta.get()},
                       3);
  }
}

// Attention

template <class Device, class Operation>
void compare_attention(const Options& options, Device device, const char* name,
                       const Operation& op) {
  constexpr const char* ideas[] = {"a block a row", "tiles in shared memory, softmax on line",
                                   "tiles in registers, copies beside arithmetic",
                                   "matrix instructions, weights stay in registers"};
  const AttentionShape& s = op.shape;
  Comparison comparison(
      options, name,
      fmt::format("{} x {} tokens, {} heads of {}", s.n, s.tokens, s.heads, s.head_dim),
      flop_count(op), "GFLOP/s");
  const std::size_t bytes = workspace_bytes(options.stream, op);
  int place = 0;
  for (const auto& rung : attention_ladder::rungs<Device, Operation>) {
    const char* const idea = ideas[place++];
    if (rung.takes(s, options.type, options.architecture))
      comparison.add(rung.name, idea,
                     time_with_workspace(options, bytes, op,
                                         [&](const Operation& o) { rung.run(device, o); }));
  }
  comparison.add_chosen(time_chosen(options, op));
  if constexpr (has_cudnn && std::is_same_v<Device, Cuda> &&
                std::is_same_v<Operation, AttentionForward>)
    if (attention_cudnn_takes(device, op))
      comparison.add_yardstick(
          "cuDNN", time_with_workspace(options, attention_cudnn_workspace_bytes(device, op), op,
                                       [&](const Operation& o) { attention_cudnn(device, o); }));
  comparison.print();
}

template <class Device>
void compare_attentions(const Options& options, Device device) {
  for (const int level : {3, 2, 1}) {
    const int px = std::max(options.size >> level, 1), channels = options.width << level;
    const int head_dim = std::min(channels, 64);
    const AttentionShape s{
        .n = options.batch, .tokens = px * px, .heads = channels / head_dim, .head_dim = head_dim};
    const std::size_t bytes = options.element() * s.n * s.tokens * channels;
    const Buffer qkv(options.stream, 3 * bytes), y(options.stream, bytes),
        dqkv(options.stream, 3 * bytes), dy(options.stream, bytes),
        log_sum_exp(options.stream, sizeof(float) * s.n * s.heads * s.tokens);
    compare_attention(options, device, "attention",
                      AttentionForward{.shape = s,
                                       .type = options.type,
                                       .qkv = qkv.get(),
                                       .y = y.get(),
                                       .log_sum_exp = log_sum_exp.get()});
    compare_attention(options, device, "attention, backward",
                      AttentionBackward{.shape = s,
                                        .type = options.type,
                                        .qkv = qkv.get(),
                                        .y = y.get(),
                                        .log_sum_exp = log_sum_exp.get(),
                                        .dy = dy.get(),
                                        .dqkv = dqkv.get()});
  }
}

// Reverse step

template <class Device>
void compare_reverse_steps(const Options& options, Device device) {
  constexpr const char* ideas[] = {"estimate, noise and update by a kernel each",
                                   "one kernel, intermediates in registers",
                                   "a thread takes a Philox block", "16 bytes a load and store"};
  for (const int images : {options.batch, 16 * options.batch}) {
    const std::int64_t elements = std::int64_t{3} * options.size * options.size;
    const std::size_t bytes = options.element() * images * elements;
    const Buffer x(options.stream, bytes), prediction(options.stream, bytes),
        x_prev(options.stream, bytes);
    std::vector<float> weights(ReverseStepCoefficients::count, 0.5F);
    weights[ReverseStepCoefficients::from_x0_before] = 0;
    const Buffer coefficients(options.stream, weights),
        step(options.stream, std::vector<std::int32_t>(1, 0)),
        keys(options.stream, std::vector<std::uint64_t>(images, 7));
    const ReverseStep op{.n = images,
                         .per_sample = elements,
                         .type = options.type,
                         .coefficients = coefficients.get(),
                         .step = step.get<std::int32_t>(),
                         .x_t = x.get(),
                         .prediction = prediction.get(),
                         .keys = keys.get<std::uint64_t>(),
                         .x_prev = x_prev.get()};
    Comparison comparison(options, "reverse step with noise",
                          fmt::format("{} x {} values", images, elements),
                          3 * static_cast<double>(bytes), "GB/s");
    for (const reverse_step::NamedRung& named : reverse_step::ladder) {
      const reverse_step::Rung rung = named.rung;
      if (!reverse_step::takes(rung, op)) continue;
      const Buffer workspace(options.stream, reverse_step::workspace_bytes(rung, op));
      comparison.add(named.name, ideas[static_cast<int>(rung)], time_of(options, [&] {
                       reverse_step::run(device, rung, op, workspace.get());
                     }));
    }
    comparison.add_chosen(time_of(options, [&] { launch(options.stream, op); }));
    comparison.print();
  }
}

// Without a ladder

template <class Device, class Operation>
void compare_linear(const Options& options, Device device, const char* name, const Operation& op) {
  Comparison comparison(options, name, fmt::format("{} rows, {} -> {}", op.rows, op.in, op.out),
                        flop_count(op), "GFLOP/s");
  comparison.add_chosen(time_chosen(options, op));
  if constexpr (has_cublas && std::is_same_v<Device, Cuda>)
    if (linear_cublas_takes(device, op))
      comparison.add_yardstick(
          "cuBLAS", time_with_workspace(options, linear_cublas_workspace_bytes(device, op), op,
                                        [&](const Operation& o) { linear_cublas(device, o); }));
  comparison.print();
}

template <class Device>
void compare_linears(const Options& options, Device device) {
  const int in = 4 * options.width, out = 8 * options.width;
  const std::int64_t tokens = std::int64_t{options.size / 4} * (options.size / 4);
  for (const std::int64_t rows : {std::int64_t{options.batch}, options.batch * tokens}) {
    const Buffer x(options.stream, options.element() * rows * in),
        y(options.stream, options.element() * rows * out),
        weight(options.stream, options.element() * in * out),
        dweight(options.stream, sizeof(float) * in * out);
    compare_linear(options, device, "linear",
                   LinearForward{.rows = rows,
                                 .in = in,
                                 .out = out,
                                 .type = options.type,
                                 .allow_tf32 = options.tf32,
                                 .x = x.get(),
                                 .weight = weight.get(),
                                 .y = y.get()});
    compare_linear(options, device, "linear's input gradient",
                   LinearInputGradient{.rows = rows,
                                       .in = in,
                                       .out = out,
                                       .type = options.type,
                                       .allow_tf32 = options.tf32,
                                       .dy = y.get(),
                                       .weight = weight.get(),
                                       .dx = x.get()});
    compare_linear(options, device, "linear's weight gradient",
                   LinearWeightGradient{.rows = rows,
                                        .in = in,
                                        .out = out,
                                        .type = options.type,
                                        .allow_tf32 = options.tf32,
                                        .x = x.get(),
                                        .dy = y.get(),
                                        .dweight = dweight.get()});
  }
}

template <class Device>
void compare_sum(const Options& options, [[maybe_unused]] Device device) {
  const std::int64_t count =
      std::int64_t{options.batch} * options.size * options.size * options.width;
  const Buffer x(options.stream, options.element() * count), y(options.stream, sizeof(float));
  const Sum op{.count = count, .type = options.type, .x = x.get(), .y = y.get()};
  Comparison comparison(options, "sum", fmt::format("{} values", count),
                        static_cast<double>(count) * static_cast<double>(options.element()),
                        "GB/s");
  comparison.add_chosen(time_chosen(options, op));
  if constexpr (has_cub && std::is_same_v<Device, Cuda>)
    comparison.add_yardstick("CUB",
                             time_with_workspace(options, sum_cub_workspace_bytes(device, op), op,
                                                 [&](const Sum& o) { sum_cub(device, o); }));
  comparison.print();
}

template <class Device>
void compare_all(Options options, Device device, const std::string& ladder,
                 const std::string& type) {
  const auto wants = [&](const char* name) { return ladder == "all" || ladder == name; };
  for (const char* const name : {"f32", "tf32", "bf16"}) {
    if (type != "all" && type != name) continue;
    options.type = std::string(name) == "bf16" ? DType::bf16 : DType::f32;
    options.tf32 = std::string(name) == "tf32";
    if (wants("conv")) compare_convolutions(options, device);
    if (wants("others")) compare_linears(options, device);
    if (options.tf32) continue;  // a matter of matrix products alone
    if (wants("others")) compare_sum(options, device);
    if (wants("group_norm")) compare_group_norms(options);
    if (wants("attention")) compare_attentions(options, device);
    if (wants("reverse_step")) compare_reverse_steps(options, device);
  }
}

void prepare(Options& options) {
  const GpuRuntime& gpu = gpu_runtime(options.stream.kind);
  const GpuDriver driver = gpu.driver();
  if (driver.devices == 0)
    throw Error("there is no CUDA device to time kernels on (" +
                (driver.error.empty() ? "the driver finds none" : driver.error) +
                "): run this where there is one, or try the program with --device simt");
  options.stream.handle = gpu.make_stream(0);
  gpu.make_current(options.stream);
  const GpuFacts facts = gpu.facts(0);
  options.architecture = 10 * facts.major + facts.minor;
  fmt::print("{}, compute capability {}.{}; images of {} px, {} channels, batch {}\n", facts.name,
             facts.major, facts.minor, options.size, options.width, options.batch);
  if (options.stream.kind == DeviceKind::simt)
    fmt::print(
        "--device simt shows that the program works: times on the processor say nothing about a "
        "GPU\n");
  fmt::print("libraries to compare with: {}{}{}{}\n", has_cudnn ? "cuDNN " : "",
             has_cublas ? "cuBLAS " : "", has_cub ? "CUB" : "",
             has_cudnn || has_cublas || has_cub ? "" : "none in this build");
  fmt::print(
      "x before: times as fast as the rung above; x library: times as fast as the library\n\n");
  Comparison::print_header();
}

int main_of(int argc, char** argv) {
  CLI::App app("Times every rung of the ladders of GPU kernels on layers of the U-Net.");
  Options options;
  std::string device = "cuda", type = "all", ladder = "all";
  app.add_option("--device", device, "cuda, or simt to try the program")
      ->check(CLI::IsMember({"cuda", "simt"}));
  app.add_option("--type", type)->check(CLI::IsMember({"all", "f32", "tf32", "bf16"}));
  app.add_option("--ladder", ladder, "others: linear and sum, which have a library and no ladder")
      ->check(CLI::IsMember({"all", "conv", "group_norm", "attention", "reverse_step", "others"}));
  app.add_option("--size", options.size, "of images, in pixels")->check(CLI::Range(8, 4096));
  app.add_option("--width", options.width, "channels of the first level")
      ->check(CLI::Range(8, 1024));
  app.add_option("--batch", options.batch, "images")->check(CLI::Range(1, 1024));
  app.add_option("--repeats", options.repeats, "calls that are timed together")
      ->check(CLI::Range(1, 10000));
  CLI11_PARSE(app, argc, argv);
  options.stream.kind = device == "cuda" ? DeviceKind::cuda : DeviceKind::simt;
  prepare(options);
  on_device<ConvForward>(options.stream, [&](auto tag) {
    if constexpr (std::is_same_v<decltype(tag), Cuda> || std::is_same_v<decltype(tag), Simt>)
      compare_all(options, tag, ladder, type);
  });
  return 0;
}

}  // namespace
}  // namespace anaphase::bench

int main(int argc, char** argv) {
  try {
    return anaphase::bench::main_of(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_ladders: {}\n", error.what());
    return 1;
  }
}
