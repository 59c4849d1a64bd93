// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/op_cases.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/common/philox.hpp"
#include "kernels/diffusion/diffusion.hpp"

namespace anaphase::test {
namespace {

using namespace engine;

using Inputs = const std::vector<Tensor>&;

// Constants of a case, on the device of the tape.

Tensor floats(Tape& tape, const Shape& shape, const std::vector<float>& values) {
  const Tensor tensor = make_tensor(tape.device(), shape, tape.device().float_type());
  upload(tensor, values);
  return tensor;
}

/// Every fifth label is left out.
Tensor labels(Tape& tape, const Shape& shape, int classes) {
  const Tensor tensor = make_tensor(tape.device(), shape, DType::i32);
  std::vector<std::int32_t> values(tensor.count());
  for (int i = 0; i < static_cast<int>(values.size()); ++i)
    values[i] = i % 5 == 3 ? -1 : (i * 7 + i / 3) % classes;
  upload(tensor, values);
  return tensor;
}

Tensor integers(Tape& tape, const std::vector<std::int32_t>& values) {
  const Tensor tensor =
      make_tensor(tape.device(), {static_cast<std::int64_t>(values.size())}, DType::i32);
  upload(tensor, values);
  return tensor;
}

Tensor keys(Tape& tape, std::int64_t n) {
  const Tensor tensor = make_tensor(tape.device(), {n}, DType::u64);
  std::vector<std::uint64_t> values(n);
  for (std::int64_t i = 0; i < n; ++i) values[i] = kernels::mix_key(11, i);
  upload(tensor, values);
  return tensor;
}

std::vector<float> ramp(std::int64_t count, float first, float last) {
  std::vector<float> values(count);
  for (std::int64_t i = 0; i < count; ++i)
    values[i] = first + (last - first) * static_cast<float>(i) / static_cast<float>(count);
  return values;
}

std::string name(Activation activation) {
  const char* names[] = {"none", "relu", "leaky_relu", "silu", "gelu"};
  return names[static_cast<int>(activation)];
}

constexpr Activation all_activations[] = {
    Activation::none, Activation::relu, Activation::leaky_relu, Activation::silu, Activation::gelu};

void add_conv(std::vector<OpCase>& cases) {
  const auto add = [&](std::string variant, Shape x, Shape weight, bool bias, ConvOptions options,
                       Shape residual = {}) {
    const bool has_residual = !residual.empty();
    const int fan_in = static_cast<int>(count_of(weight) / weight[0]);
    std::vector<OpInput> inputs{{std::move(x)}, {weight}};
    if (bias) inputs.push_back({{weight[0]}});
    if (has_residual) inputs.push_back({std::move(residual)});
    cases.push_back({"conv", std::move(variant), inputs,
                     [=](Tape& tape, Inputs in) {
                       ConvOptions given = options;
                       if (has_residual) given.residual = in.back();
                       return conv(tape, in[0], in[1], bias ? in[2] : Tensor{}, given);
                     },
                     true, fan_in + 64});
  };
  add("2-D", {2, 5, 7, 3}, {4, 3, 3, 3}, true, {.padding = 1});
  add("2-D without bias", {1, 4, 3, 5}, {3, 3, 3, 5}, false, {.padding = 1});
  add("2-D stride 2", {2, 7, 6, 2}, {3, 3, 3, 2}, true, {.stride = 2, .padding = 1});
  add("2-D stride 3, no padding", {1, 8, 9, 2}, {2, 2, 2, 2}, false, {.stride = 3});
  add("2-D uneven kernel", {1, 5, 6, 3}, {2, 1, 4, 3}, true, {});
  add("2-D wide padding", {1, 3, 2, 2}, {3, 5, 5, 2}, true, {.padding = 3});
  add("1x1 with residual", {2, 3, 3, 5}, {4, 1, 1, 5}, true, {}, {2, 3, 3, 4});
  add("stride 2 with residual", {1, 5, 6, 3}, {2, 3, 3, 3}, false, {.stride = 2, .padding = 1},
      {1, 3, 3, 2});
  add("3-D", {1, 4, 5, 3, 2}, {3, 3, 3, 3, 2}, true, {.padding = 1});
  add("3-D stride 2 with residual", {2, 5, 4, 3, 2}, {3, 3, 2, 3, 2}, true,
      {.stride = 2, .padding = 1, .activation = Activation::relu}, {2, 3, 3, 2, 3});
  for (const Activation activation : all_activations) {
    if (activation == Activation::none) continue;
    add(name(activation), {1, 5, 4, 3}, {5, 3, 3, 3}, true,
        {.padding = 1, .activation = activation, .slope = 0.2F});
    add(name(activation) + " with residual", {1, 4, 5, 2}, {3, 3, 3, 2}, true,
        {.padding = 1, .activation = activation, .slope = 0.2F}, {1, 4, 5, 3});
  }
}

void add_linear(std::vector<OpCase>& cases) {
  cases.push_back({"linear", "without bias", {{{3, 7}}, {{5, 7}}}, [](Tape& tape, Inputs in) {
                     return linear(tape, in[0], in[1], {});
                   }});
  cases.push_back({"linear",
                   "bias and residual, two leading axes",
                   {{{2, 3, 4}}, {{5, 4}}, {{5}}, {{2, 3, 5}}},
                   [](Tape& tape, Inputs in) { return linear(tape, in[0], in[1], in[2], in[3]); }});
  cases.push_back(
      {"linear", "bias, one output", {{{4, 3}}, {{1, 3}}, {{1}}}, [](Tape& tape, Inputs in) {
         return linear(tape, in[0], in[1], in[2]);
       }});
}

void add_norms(std::vector<OpCase>& cases) {
  const auto add_group = [&](std::string variant, Shape x, int groups, bool modulated,
                             Activation activation) {
    const std::int64_t n = x.front(), channels = x.back();
    std::vector<OpInput> inputs{{std::move(x), -1, 2}, {{channels}, 0.5, 1.5}, {{channels}}};
    if (modulated) inputs.push_back({{n, 2 * channels}});
    cases.push_back({"group_norm", std::move(variant), inputs,
                     [=](Tape& tape, Inputs in) {
                       return group_norm(tape, in[0], in[1], in[2], groups,
                                         modulated ? in[3] : Tensor{}, activation);
                     },
                     true, 128});
  };
  add_group("plain", {2, 3, 5, 6}, 3, false, Activation::none);
  add_group("silu", {1, 5, 3, 4}, 2, false, Activation::silu);
  add_group("scale and shift", {3, 2, 3, 4}, 2, true, Activation::none);
  add_group("scale, shift and silu", {2, 3, 3, 6}, 2, true, Activation::silu);
  add_group("a group for each channel", {1, 3, 5, 3}, 3, false, Activation::none);
  add_group("one group, 3-D", {2, 2, 3, 3, 3}, 1, true, Activation::silu);

  for (const bool training : {true, false})
    for (const Activation activation :
         {Activation::none, Activation::relu, Activation::leaky_relu}) {
      cases.push_back({"batch_norm",
                       (training ? "training, " : "inference, ") + name(activation),
                       {{{2, 3, 5, 3}, -1, 2}, {{3}, 0.5, 1.5}, {{3}}},
                       [=](Tape& tape, Inputs in) {
                         return batch_norm(
                             tape, in[0], in[1], in[2], floats(tape, {3}, {0.5F, -0.25F, 1}),
                             floats(tape, {3}, {0.5F, 2, 1}),
                             {.training = training, .activation = activation, .slope = 0.1F});
                       },
                       true,
                       128});
    }
}

void add_attention(std::vector<OpCase>& cases) {
  for (const auto& [heads, shape] : std::vector<std::pair<int, Shape>>{
           {1, {2, 3, 3, 12}}, {3, {1, 7, 27}}, {3, {2, 5, 9}}, {2, {1, 2, 3, 2, 12}}})
    cases.push_back(
        {"attention",
         std::to_string(heads) + " heads, qkv " + to_string(shape),
         {{shape}},
         [heads = heads](Tape& tape, Inputs in) { return attention(tape, in[0], heads); }});
}

void add_resolution(std::vector<OpCase>& cases) {
  for (const Shape& shape : {Shape{2, 4, 6, 3}, Shape{1, 5, 7, 2}, Shape{1, 2, 3, 1}})
    cases.push_back(
        {"max_pool", to_string(shape), {{shape, -1, 1, Values::spread}}, [](Tape& tape, Inputs in) {
           return max_pool(tape, in[0]);
         }});
  const std::pair<ResampleMode, std::string> modes[] = {
      {ResampleMode::nearest, "nearest"},
      {ResampleMode::linear, "linear"},
      {ResampleMode::linear_aligned, "linear_aligned"}};
  for (const auto& [mode, mode_name] : modes)
    for (const auto& [shape, extents] :
         std::vector<std::pair<Shape, Shape>>{{{2, 3, 4, 3}, {6, 8}},
                                              {{1, 7, 5, 2}, {3, 4}},
                                              {{1, 4, 5, 1}, {7, 1}},
                                              {{1, 3, 2, 4, 2}, {5, 4, 3}}})
      cases.push_back({"resample",
                       mode_name + " " + to_string(shape) + " to " + to_string(extents),
                       {{shape}},
                       [mode = mode, extents = extents](Tape& tape, Inputs in) {
                         return resample(tape, in[0], extents, mode);
                       }});
  cases.push_back({"resample",
                   "behind a skip connection",
                   {{{2, 3, 4, 3}}, {{2, 6, 7, 2}}},
                   [](Tape& tape, Inputs in) {
                     return resample(tape, in[0], {6, 7}, ResampleMode::linear_aligned, in[1]);
                   }});
  cases.push_back({"concat", "2-D", {{{2, 3, 3, 4}}, {{2, 3, 3, 1}}}, [](Tape& tape, Inputs in) {
                     return concat(tape, in[0], in[1]);
                   }});
  cases.push_back({"concat", "with itself", {{{3, 5}}}, [](Tape& tape, Inputs in) {
                     return concat(tape, in[0], in[0]);
                   }});
}

void add_elementwise(std::vector<OpCase>& cases) {
  for (const Activation activation : all_activations)
    cases.push_back(
        {"activate",
         name(activation),
         {{{3, 19}, -4, 4, Values::nonzero}},
         [=](Tape& tape, Inputs in) { return activate(tape, in[0], activation, 0.3F); }});
  for (const float rate : {0.0F, 0.4F})
    cases.push_back(
        {"dropout", "rate " + std::to_string(rate), {{{3, 5, 3}}}, [=](Tape& tape, Inputs in) {
           return dropout(tape, in[0], rate, keys(tape, 3), 5);
         }});
  cases.push_back({"add_scaled", "a + b", {{{2, 7}}, {{2, 7}}}, [](Tape& tape, Inputs in) {
                     return add_scaled(tape, in[0], in[1]);
                   }});
  cases.push_back({"add_scaled", "a alone", {{{9}}}, [](Tape& tape, Inputs in) {
                     return add_scaled(tape, in[0], {}, -1.5);
                   }});
  cases.push_back(
      {"add_scaled", "weights and factor", {{{3, 5}}, {{3, 5}}}, [](Tape& tape, Inputs in) {
         return add_scaled(tape, in[0], in[1], 1, -0.75, floats(tape, {1}, {2.5F}));
       }});
  cases.push_back({"add_per_sample", "2-D", {{{2, 3, 3, 5}}, {{2, 5}}}, [](Tape& tape, Inputs in) {
                     return add_per_sample(tape, in[0], in[1]);
                   }});
  // There and back through the narrower type: exact for eighths and for a step that is a power of
  // two.
  cases.push_back({"cast",
                   "to a narrower type and back",
                   {{{5, 7}, -1, 1, Values::eighths}},
                   [](Tape& tape, Inputs in) {
                     const DType own = tape.device().float_type();
                     const DType narrow = own == DType::f64 ? DType::f32 : DType::bf16;
                     return cast(tape, cast(tape, in[0], narrow), own);
                   },
                   true,
                   64,
                   0x1p-5});
}

void add_losses(std::vector<OpCase>& cases) {
  cases.push_back({"softmax", "probabilities", {{{2, 3, 5}, -3, 3}}, [](Tape& tape, Inputs in) {
                     return softmax(tape, in[0]);
                   }});
  cases.push_back({"softmax", "gain 2, offset -1", {{{7, 3}, -3, 3}}, [](Tape& tape, Inputs in) {
                     return softmax(tape, in[0], 2, -1);
                   }});
  for (const float smooth : {1.0F, 1e-3F})
    cases.push_back({"dice_loss",
                     "smooth " + std::to_string(smooth),
                     {{{2, 3, 5, 4}, -2, 2}},
                     [=](Tape& tape, Inputs in) {
                       return dice_loss(tape, in[0], labels(tape, {2, 3, 5}, 4), smooth);
                     }});
  cases.push_back(
      {"cross_entropy_loss", "3 classes", {{{2, 3, 5, 3}, -2, 2}}, [](Tape& tape, Inputs in) {
         return cross_entropy_loss(tape, in[0], labels(tape, {2, 3, 5}, 3));
       }});
  for (const bool weighted : {false, true})
    cases.push_back({"mean_squared_error",
                     weighted ? "weighted" : "plain",
                     {{{3, 2, 5}}},
                     [=](Tape& tape, Inputs in) {
                       return mean_squared_error(
                           tape, in[0], floats(tape, {3, 2, 5}, ramp(30, -1, 2)),
                           weighted ? floats(tape, {3}, {0.5F, 0, 3}) : Tensor{});
                     }});
  cases.push_back({"class_use", "3 classes", {{{2, 7, 3}, -2, 2}}, [](Tape& tape, Inputs in) {
                     return class_use(tape, in[0], floats(tape, {3}, {0.7F, 0.2F, 0.1F})).loss;
                   }});
  cases.push_back({"forward_noise", "3 timesteps", {{{3, 2, 5}}}, [](Tape& tape, Inputs in) {
                     return forward_noise(tape, in[0], integers(tape, {0, 3, 7}),
                                          floats(tape, {8}, ramp(8, 0.99F, 0.01F)), keys(tape, 3),
                                          2)
                         .x_t;
                   }});
}

/// Convolution, normalisation, attention, a change of resolution, a skip connection and a loss.
void add_network(std::vector<OpCase>& cases) {
  cases.push_back({"network",
                   "U of two levels",
                   {{{2, 5, 6, 2}},
                    {{4, 3, 3, 2}, -0.4, 0.4},
                    {{4}},
                    {{4}, 0.5, 1.5},
                    {{4}},
                    {{2, 8}, -0.5, 0.5},
                    {{12, 1, 1, 4}, -0.7, 0.7},
                    {{3, 3, 3, 6}, -0.4, 0.4},
                    {{3}}},
                   [](Tape& tape, Inputs in) {
                     Tensor h = conv(tape, in[0], in[1], in[2], {.stride = 2, .padding = 1});
                     h = group_norm(tape, h, in[3], in[4], 2, in[5], Activation::silu);
                     h = add_scaled(tape, h, attention(tape, conv(tape, h, in[6], {}), 2));
                     h = resample(tape, h, {5, 6}, ResampleMode::linear);
                     h = concat(tape, h, in[0]);
                     h = conv(tape, h, in[7], in[8], {.padding = 1});
                     return dice_loss(tape, h, labels(tape, {2, 5, 6}, 3));
                   },
                   true,
                   1024});
}

std::vector<OpCase> make_constant_cases() {
  std::vector<OpCase> cases;
  const auto add = [&](std::string operation, std::string variant, std::vector<OpInput> inputs,
                       Differentiable function) {
    cases.push_back(
        {std::move(operation), std::move(variant), std::move(inputs), std::move(function), false});
  };
  const auto alpha_bar = [](Tape& tape) { return floats(tape, {8}, ramp(8, 0.99F, 0.05F)); };
  for (const bool bias : {true, false}) {
    const auto folded = [bias](Tape& tape, Inputs in) {
      return fold_batch_norm(tape, in[0], bias ? in[1] : Tensor{}, in[2], in[3], in[4], in[5]);
    };
    const std::vector<OpInput> inputs{{{3, 2, 2, 5}}, {{3}}, {{3}}, {{3}}, {{3}}, {{3}, 0.5, 2}};
    const std::string variant = bias ? "of a convolution" : "of one without bias";
    add("fold_batch_norm", variant + ", weight", inputs,
        [=](Tape& tape, Inputs in) { return folded(tape, in).weight; });
    add("fold_batch_norm", variant + ", bias", inputs,
        [=](Tape& tape, Inputs in) { return folded(tape, in).bias; });
  }
  add("argmax", "labels", {{{3, 5, 4}, -1, 1, Values::spread}},
      [](Tape& tape, Inputs in) { return argmax(tape, in[0]); });
  add("argmax", "confident ones", {{{30, 3}, -3, 3, Values::spread}},
      [](Tape& tape, Inputs in) { return argmax(tape, in[0], {.confidence = 0.8F}); });
  add("one_hot", "mask signal", {}, [](Tape& tape, Inputs) {
    return one_hot(tape, labels(tape, {3, 7}, 4), 4, tape.device().float_type(), 1, -1);
  });
  add("random_timesteps", "of a thousand", {},
      [](Tape& tape, Inputs) { return random_timesteps(tape, keys(tape, 9), 3, 0, 1000); });
  add("random_normal", "two samples", {}, [](Tape& tape, Inputs) {
    return random_normal(tape, keys(tape, 2), 1, {2, 5, 7}, tape.device().float_type());
  });
  add("forward_noise", "its noise", {{{3, 7}}}, [=](Tape& tape, Inputs in) {
    return forward_noise(tape, in[0], integers(tape, {1, 0, 6}), alpha_bar(tape), keys(tape, 3), 2)
        .noise;
  });
  add("predict_clean", "clamped", {{{2, 3, 5}}, {{2, 3, 5}}}, [=](Tape& tape, Inputs in) {
    return predict_clean(tape, in[0], in[1], integers(tape, {2, 7}), alpha_bar(tape), -1, 1);
  });
  const auto reverse = [](Tape& tape, Inputs in) {
    const Tensor coefficients =
        floats(tape, {2, 6}, {0, 0, 0, 0, 0, 0, 1.2F, -0.6F, 0.7F, -0.4F, 0.25F, 0.3F});
    const ReverseProcess process{coefficients, integers(tape, {8, 4}), integers(tape, {1}), {}};
    return reverse_step(tape, in[0], in[1], in[2], process, keys(tape, 2), 10, -1, 1);
  };
  add("reverse_step", "previous state", {{{2, 3, 5}}, {{2, 3, 5}}, {{2, 3, 5}}},
      [=](Tape& tape, Inputs in) { return reverse(tape, in).x_prev; });
  add("reverse_step", "clean estimate", {{{2, 3, 5}}, {{2, 3, 5}}, {{2, 3, 5}}},
      [=](Tape& tape, Inputs in) { return reverse(tape, in).x0; });
  add("next_step", "timesteps of three samples", {}, [](Tape& tape, Inputs) {
    const ReverseProcess process{
        {}, integers(tape, {8, 4, 7, 2, 5, 3}), integers(tape, {0}), integers(tape, {9, 9, 9})};
    next_step(tape, process);
    return process.t;
  });
  add("timestep_embedding", "odd number of channels", {}, [](Tape& tape, Inputs) {
    return timestep_embedding(tape, integers(tape, {0, 1, 99}), 9, tape.device().float_type());
  });
  const auto use = [](Tape& tape, Inputs in) {
    return class_use(tape, in[0], floats(tape, {3}, {0.5F, 0.25F, 0.25F}));
  };
  add("class_use", "use", {{{2, 7, 3}, -2, 2}},
      [=](Tape& tape, Inputs in) { return use(tape, in).use; });
  add("class_use", "entropy", {{{2, 7, 3}, -2, 2}},
      [=](Tape& tape, Inputs in) { return use(tape, in).entropy; });
  const auto statistics = [](Tape& tape, Inputs in, bool variance) {
    const Tensor mean = floats(tape, {3}, {1, 2, 3}), var = floats(tape, {3}, {2, 1, 3});
    batch_norm(tape, in[0], floats(tape, {3}, {1, 1, 1}), floats(tape, {3}, {0, 0, 0}), mean, var,
               {.momentum = 0.25F});
    return variance ? var : mean;
  };
  add("batch_norm", "running mean", {{{2, 5, 3}}},
      [=](Tape& tape, Inputs in) { return statistics(tape, in, false); });
  add("batch_norm", "running variance", {{{2, 5, 3}}},
      [=](Tape& tape, Inputs in) { return statistics(tape, in, true); });
  return cases;
}

}  // namespace

const std::vector<OpCase>& differentiable_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all;
    for (const auto add : {add_conv, add_linear, add_norms, add_attention, add_resolution,
                           add_elementwise, add_losses, add_network})
      add(all);
    return all;
  }();
  return cases;
}

const std::vector<OpCase>& constant_cases() {
  static const std::vector<OpCase> cases = make_constant_cases();
  return cases;
}

std::vector<float> values_of(const OpCase& op, std::size_t input) {
  const OpInput& in = op.inputs[input];
  std::uint64_t key = input;
  for (const char c : op.operation + op.variant)
    key = kernels::mix_key(key, static_cast<unsigned char>(c));
  kernels::PhiloxStream random(key);
  std::vector<float> values(count_of(in.shape));
  for (float& value : values) {
    double v = in.low + (in.high - in.low) * random.uniform();
    if (in.values == Values::nonzero) v += v < 0 ? -0.05 : 0.05;
    if (in.values == Values::eighths) v = std::round(v * 8) / 8;
    value = static_cast<float>(v);
  }
  if (in.values == Values::spread) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
    const double gap = (in.high - in.low) / static_cast<double>(values.size());
    for (std::size_t rank = 0; rank < order.size(); ++rank)
      values[order[rank]] = static_cast<float>(in.low + gap * (static_cast<double>(rank) + 0.5));
  }
  return values;
}

std::vector<Tensor> Evaluation::all() const {
  std::vector<Tensor> tensors{output};
  tensors.insert(tensors.end(), gradients.begin(), gradients.end());
  return tensors;
}

Evaluation evaluate(const OpCase& op, Executor& executor) {
  Tape tape(executor);
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    inputs.push_back(
        make_tensor(executor.device(), op.inputs[i].shape, executor.device().float_type()));
    upload(inputs.back(), values_of(op, i));
    tape.watch(inputs.back());
  }
  Evaluation result{op.function(tape, inputs), {}};
  if (!op.differentiable) return result;
  const Tensor direction =
      make_tensor(executor.device(), result.output.shape(), result.output.type());
  std::vector<float> r(direction.count());
  kernels::PhiloxStream random(5);
  for (float& value : r) value = 0.5F + static_cast<float>(random.integer(0, 64)) / 64;
  upload(direction, r);
  tape.backward(result.output, direction);
  for (const Tensor& input : inputs) result.gradients.push_back(tape.gradient(input));
  return result;
}

std::vector<double> read(const Tensor& tensor) {
  if (tensor.type() == DType::i32) {
    const std::vector<std::int32_t> values = download_labels(tensor);
    return {values.begin(), values.end()};
  }
  if (tensor.type() == DType::f64) {
    std::vector<double> values(tensor.count());
    copy_to_host(tensor.device(), values.data(), tensor.data(), tensor.bytes());
    return values;
  }
  const std::vector<float> values = download(tensor);
  return {values.begin(), values.end()};
}

}  // namespace anaphase::test
