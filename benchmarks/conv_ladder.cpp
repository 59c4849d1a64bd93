// SPDX-License-Identifier: Apache-2.0
// bench_conv_ladder: times every convolution kernel for GPUs (kernels/conv/README.md) on layers of
// the networks, v3 and v4 with the best of their tiles, beside what conv.cu chooses.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/gpu_runtime.hpp"
#include "kernels/conv/ladder.hpp"

namespace anaphase::bench {
namespace {

using namespace kernels;
using conv_ladder::Tiling;

struct Options {
  Stream stream;
  DType type = DType::bf16;
  bool tf32 = false;
  int size = 128, width = 64, batch = 4, repeats = 20;
};

/// Memory of the device, full of numbers below 2 of either sign, in bf16 and in float32: zeros
/// would cost the device less power.
class Buffer {
 public:
  Buffer(const Stream& stream, std::size_t bytes) : stream_(stream) {
    const GpuRuntime& gpu = gpu_runtime(stream.kind);
    data_ = gpu.allocate(stream, bytes);
    if (!data_) throw Error("the device has not enough memory: take a smaller --size or --batch");
    std::vector<std::uint16_t> values(bytes / sizeof(std::uint16_t));
    std::uint32_t state = 1;
    for (std::uint16_t& value : values) {
      state = state * 1664525 + 1013904223;  // Numerical Recipes' generator
      value = static_cast<std::uint16_t>(0x3c00 | (state >> 16 & 0x83ff));
    }
    gpu.copy(stream, data_, values.data(), values.size() * sizeof(std::uint16_t));
    gpu.synchronize(stream);
  }
  ~Buffer() { gpu_runtime(stream_.kind).free(stream_, data_); }
  Buffer(const Buffer&) = delete;
  void* get() const { return data_; }

 private:
  Stream stream_;
  void* data_;
};

/// Microseconds a call, in a graph of `repeats` of them.
double time_of(const Options& options, const std::function<void()>& call) {
  const GpuRuntime& gpu = gpu_runtime(options.stream.kind);
  gpu.begin_capture(options.stream);
  for (int i = 0; i < options.repeats; ++i) call();
  void* const graph = gpu.end_capture(options.stream);
  void* const start = gpu.make_event();
  void* const end = gpu.make_event();
  double least = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 3; ++round) {
    gpu.record(options.stream, start);
    gpu.launch(options.stream, graph);
    gpu.record(options.stream, end);
    gpu.wait(end);
    least = std::min(least, gpu.seconds(start, end) * 1e6 / options.repeats);
  }
  gpu.free_event(start);
  gpu.free_event(end);
  gpu.free_graph(graph);
  return least;
}

/// The rungs of the device that a tag stands for, as one line of the table.
template <class Device, class Operation>
void print_line(const Options& options, Device device, Operation op) {
  constexpr bool is_forward = std::is_same_v<Operation, ConvForward>;
  const ConvShape& s = op.shape;
  const auto time = [&](auto&& call) { return time_of(options, call); };
  std::string line =
      fmt::format("{:8} {:4} -> {:4} {}x{}/{} {:4} px", is_forward ? "forward" : "gradient", s.c_in,
                  s.c_out, s.kernel_h, s.kernel_w, s.stride_h, s.h);
  const auto add = [&](double us) { line += fmt::format(" {:10.1f}", us); };
  const auto add_best = [&](auto&& rung) {
    double least = std::numeric_limits<double>::infinity();
    Tiling best;
    for (Tiling tiling : conv_ladder::tiles)
      for (tiling.splits = 1; tiling.splits <= 16; tiling.splits *= 4) {
        const Buffer workspace(options.stream,
                               std::max<std::size_t>(conv_ladder::workspace_bytes(op, tiling), 1));
        op.workspace = workspace.get();
        const double us = time([&] { rung(device, op, tiling); });
        if (us >= least) continue;
        least = us;
        best = tiling;
      }
    add(least);
    line += fmt::format(" {:>10}", fmt::format("{}x{}/{}", best.rows, best.columns, best.splits));
  };
  add(time([&] { conv_ladder::v1_direct(device, op); }));
  add(time([&] { conv_ladder::v2_tiled(device, op); }));
  add_best(
      [](auto on, const Operation& o, const Tiling& t) { conv_ladder::v3_pipelined(on, o, t); });
  if (options.type == DType::bf16 || options.tf32)
    add_best([](auto on, const Operation& o, const Tiling& t) {
      conv_ladder::v4_tensor_core(on, o, t);
    });
  const Buffer workspace(options.stream,
                         std::max<std::size_t>(workspace_bytes(options.stream, op), 1));
  op.workspace = workspace.get();
  const double chosen = time([&] { launch(options.stream, op); });
  add(chosen);
  fmt::print("{} {:8.2f}\n", line, flop_count(op) / chosen * 1e-6);
  std::fflush(stdout);
}

template <class Device>
void print_layer(const Options& options, Device device, const ConvShape& s) {
  const std::size_t element = size_of(options.type);
  const Buffer x(options.stream, element * s.n * s.h * s.w * s.c_in);
  const Buffer y(options.stream, element * s.n * s.out_h() * s.out_w() * s.c_out);
  const Buffer weight(options.stream, element * s.c_out * s.kernel_h * s.kernel_w * s.c_in);
  print_line(options, device,
             ConvForward{.shape = s,
                         .type = options.type,
                         .allow_tf32 = options.tf32,
                         .x = x.get(),
                         .weight = weight.get(),
                         .y = y.get()});
  print_line(options, device,
             ConvInputGradient{.shape = s,
                               .type = options.type,
                               .allow_tf32 = options.tf32,
                               .dy = y.get(),
                               .weight = weight.get(),
                               .dx = x.get()});
}

template <class Device>
void print_table(const Options& options, Device device) {
  fmt::print("{}, batch {}, microseconds; v3, v4: and best tile (rows x columns / splits)\n",
             options.tf32 ? "tf32" : name_of(options.type), options.batch);
  fmt::print("{:33} {:>10} {:>10} {:>21}{} {:>10} {:>8}\n", "", "v1", "v2", "v3",
             options.type == DType::bf16 || options.tf32 ? fmt::format(" {:>21}", "v4") : "",
             "conv", "TFLOP/s");
  const auto print = [&](int px, int in, int out, int kernel, int stride) {
    print_layer(options, device,
                {.n = options.batch,
                 .h = px,
                 .w = px,
                 .c_in = in,
                 .c_out = out,
                 .kernel_h = kernel,
                 .kernel_w = kernel,
                 .stride_h = stride,
                 .stride_w = stride,
                 .pad_h = kernel / 2,
                 .pad_w = kernel / 2});
  };
  print(options.size, 3, options.width, 3, 1);
  for (int level = 0; level < 4; ++level) {
    const int channels = options.width << level, px = std::max(options.size >> level, 1);
    print(px, channels, channels, 3, 1);
    print(px, 2 * channels, channels, 1, 1);
    if (level < 3) print(px, channels, channels, 3, 2);
  }
  print(options.size, options.width, 2, 3, 1);
}

int main_of(int argc, char** argv) {
  CLI::App app("Times every convolution kernel for GPUs on layers of the U-Net.");
  Options options;
  std::string device = "cuda", type = "bf16";
  app.add_option("--device", device, "cuda, or simt to try the program")
      ->check(CLI::IsMember({"cuda", "simt"}));
  app.add_option("--type", type)->check(CLI::IsMember({"f32", "tf32", "bf16"}));
  app.add_option("--size", options.size, "of images, in pixels");
  app.add_option("--width", options.width, "channels of the first level");
  app.add_option("--batch", options.batch, "images");
  app.add_option("--repeats", options.repeats, "calls that are timed together");
  CLI11_PARSE(app, argc, argv);
  options.stream.kind = device == "cuda" ? DeviceKind::cuda : DeviceKind::simt;
  options.type = type == "bf16" ? DType::bf16 : DType::f32;
  options.tf32 = type == "tf32";
  const GpuRuntime& gpu = gpu_runtime(options.stream.kind);
  options.stream.handle = gpu.make_stream(0);
  gpu.make_current(options.stream);
  on_device<ConvForward>(options.stream, [&](auto tag) {
    if constexpr (std::is_same_v<decltype(tag), Cuda> || std::is_same_v<decltype(tag), Simt>)
      print_table(options, tag);
  });
  return 0;
}

}  // namespace
}  // namespace anaphase::bench

int main(int argc, char** argv) {
  try {
    return anaphase::bench::main_of(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
