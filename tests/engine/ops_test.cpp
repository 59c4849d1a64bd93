// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/ops.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "kernels/diffusion/diffusion.hpp"
#include "tests/engine/op_cases.hpp"

// Hand-worked values: what the operations do with their options. Gradients and agreement between
// devices are tested elsewhere, and say nothing about an option that gets lost on the way to the
// kernels.

using namespace anaphase;
using namespace anaphase::engine;
using anaphase::test::read;

namespace {

using Values = std::vector<float>;

/// Operations on the reference device, and what they give rounded to float.
struct Bench {
  Tensor floats(Shape shape, const Values& values) const {
    const Tensor t = make_tensor(Device::reference(), std::move(shape), DType::f64);
    upload(t, values);
    return t;
  }
  Tensor integers(Shape shape, const std::vector<std::int32_t>& values) const {
    const Tensor t = make_tensor(Device::reference(), std::move(shape), DType::i32);
    upload(t, values);
    return t;
  }
  Tensor keys(std::int64_t n) const {
    const Tensor t = make_tensor(Device::reference(), {n}, DType::u64);
    std::vector<std::uint64_t> values(n);
    for (std::int64_t i = 0; i < n; ++i) values[i] = 1000 + i;
    upload(t, values);
    return t;
  }
  Eager eager{Device::reference()};
  Tape tape{eager, Tape::Mode::infer};
};

bool near(const Tensor& actual, const Values& expected, double tolerance = 1e-6) {
  const std::vector<double> values = read(actual);
  if (values.size() != expected.size()) return false;
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(values[i] - expected[i]) <= tolerance)) return false;
  return true;
}

}  // namespace

TEST_CASE("convolution: stride, padding, residual, activation and slope") {
  Bench b;
  const Tensor x = b.floats({1, 2, 3, 1}, {1, 2, 3, 4, 5, 6});
  const Tensor w = b.floats({1, 1, 2, 1}, {1, -2}), bias = b.floats({1}, {0.5F});
  CHECK(near(conv(b.tape, x, w, {}), {-3, -4, -6, -7}));
  CHECK(near(conv(b.tape, x, w, bias, {.stride = 2}), {-2.5F}));
  const Tensor padded = conv(b.tape, x, w, {}, {.stride = 2, .padding = 1});
  CHECK(padded.shape() == Shape{1, 2, 2, 1});
  CHECK(near(padded, {0, 0, -8, -7}));
  const Tensor residual = b.floats({1, 2, 2, 1}, {10, 0, 7, 1});
  CHECK(near(conv(b.tape, x, w, {}, {.residual = residual}), {7, -4, 1, -6}));
  CHECK(near(conv(b.tape, x, w, bias, {.residual = residual, .activation = Activation::relu}),
             {7.5F, 0, 1.5F, 0}));
  CHECK(near(conv(b.tape, x, w, {}, {.activation = Activation::leaky_relu, .slope = 0.5F}),
             {-1.5F, -2, -3, -3.5F}));
  // Every axis of a volume has the stride and the padding.
  const Tensor volume = b.floats({1, 2, 2, 2, 1}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor cube = b.floats({1, 2, 2, 2, 1}, {1, 0, 0, 0, 0, 0, 0, 10});
  CHECK(near(conv(b.tape, volume, cube, {}), {81}));
  const Tensor corners = conv(b.tape, volume, cube, {}, {.stride = 2, .padding = 1});
  CHECK(near(corners, {10, 0, 0, 0, 0, 0, 0, 8}));
}

TEST_CASE("linear map: bias and residual") {
  Bench b;
  const Tensor x = b.floats({2, 2}, {1, 2, 3, 4}), w = b.floats({1, 2}, {10, 1});
  CHECK(near(linear(b.tape, x, w, {}), {12, 34}));
  CHECK(near(linear(b.tape, x, w, b.floats({1}, {0.5F}), b.floats({2, 1}, {100, 200})),
             {112.5F, 234.5F}));
}

TEST_CASE("normalisation: groups, scale and shift, epsilon, statistics") {
  Bench b;
  const Tensor x = b.floats({1, 2, 2}, {1, 10, 3, 30});  // two pixels, two channels
  const Tensor gamma = b.floats({2}, {1, 2}), beta = b.floats({2}, {0, 0.5F});
  CHECK(near(group_norm(b.tape, x, gamma, beta, 2, {}, Activation::none, 0), {-1, -1.5F, 1, 2.5F}));
  const Tensor scale_shift = b.floats({1, 4}, {1, 2, 10, 20});  // scales, then shifts
  CHECK(near(group_norm(b.tape, x, gamma, beta, 2, scale_shift, Activation::none, 0),
             {8, 15.5F, 12, 27.5F}));
  CHECK(near(group_norm(b.tape, x, gamma, beta, 2, {}, Activation::silu, 0),
             {-0.26894143F, -0.27363881F, 0.73105858F, 2.3103546F}));
  // epsilon 3 against a variance of 1
  CHECK(near(group_norm(b.tape, b.floats({1, 2, 1}, {1, 3}), b.floats({1}, {1}), b.floats({1}, {0}),
                        1, {}, Activation::none, 3),
             {-0.5F, 0.5F}));

  const Tensor mean = b.floats({2}, {0, 10}), variance = b.floats({2}, {3, 99});
  const BatchNormOptions inference{
      .training = false, .epsilon = 1, .activation = Activation::leaky_relu, .slope = 0.5F};
  CHECK(near(batch_norm(b.tape, x, gamma, beta, mean, variance, inference),
             {0.5F, 0.5F, 1.5F, 4.5F}));
  CHECK(near(mean, {0, 10}));
  const BatchNormOptions training{.momentum = 0.25F, .epsilon = 0, .activation = Activation::relu};
  CHECK(near(batch_norm(b.tape, x, gamma, beta, mean, variance, training), {0, 0, 1, 2.5F}));
  CHECK(near(mean, {0.5F, 12.5F}));
  CHECK(near(variance, {2.75F, 124.25F}));  // the batch's unbiased variances are 2 and 200
}

TEST_CASE("attention: every head looks with its own queries") {
  Bench b;
  // Two tokens, heads of one channel. Scores are q k: the first head's queries are 0 (an even mix
  // of values), the second's favour the second token by e^100.
  const Tensor qkv = b.floats({1, 2, 6}, {0, 100, 1, 0, 2, 4, 0, 100, 5, 1, 6, 8});
  CHECK(near(attention(b.tape, qkv, 2), {4, 8, 4, 8}));
}

TEST_CASE("resolution and channels") {
  Bench b;
  const Tensor x = b.floats({1, 2, 3, 1}, {1, 5, 9, 4, 2, 8});
  CHECK(near(max_pool(b.tape, x), {5}));
  CHECK(near(resample(b.tape, x, {2, 1}, ResampleMode::nearest), {1, 4}));
  CHECK(near(resample(b.tape, x, {1, 3}, ResampleMode::linear), {2.5F, 3.5F, 8.5F}));
  CHECK(near(resample(b.tape, x, {2, 5}, ResampleMode::linear_aligned),
             {1, 3, 5, 7, 9, 4, 3, 2, 5, 8}));
  CHECK(near(concat(b.tape, b.floats({2, 1}, {1, 2}), b.floats({2, 2}, {3, 4, 5, 6})),
             {1, 3, 4, 2, 5, 6}));
}

TEST_CASE("element by element") {
  Bench b;
  const Tensor x = b.floats({2}, {-2, 4}), y = b.floats({2}, {1, 10});
  CHECK(near(activate(b.tape, x, Activation::leaky_relu, 0.25F), {-0.5F, 4}));
  CHECK(near(activate(b.tape, x, Activation::gelu), {-0.04550026F, 3.9998733F}));
  CHECK(near(add_scaled(b.tape, x, y, 2, 3), {-1, 38}));
  CHECK(near(add_scaled(b.tape, x, y, 2, 3, b.floats({1}, {0.5F})), {-0.5F, 19}));
  CHECK(near(add_scaled(b.tape, x, {}, -1), {2, -4}));
  CHECK(near(add_per_sample(b.tape, b.floats({2, 2, 1}, {1, 2, 3, 4}), b.floats({2, 1}, {10, 20})),
             {11, 12, 23, 24}));
  const Tensor narrow = cast(b.tape, b.floats({1}, {0.1F}), DType::f32);
  CHECK(narrow.type() == DType::f32);
  CHECK(read(narrow)[0] == static_cast<double>(0.1F));
}

TEST_CASE("dropout: rate, keys and draw") {
  Bench b;
  const Tensor x = b.floats({2, 4000}, Values(8000, 1));
  const auto dropped = [&](float rate, std::uint32_t draw) {
    return read(dropout(b.tape, x, rate, b.keys(2), draw));
  };
  const std::vector<double> y = dropped(0.2F, 1);
  const auto zeros = static_cast<double>(std::count(y.begin(), y.end(), 0.0));
  CHECK(std::abs(zeros / 8000 - 0.2) < 0.018);  // four standard deviations
  CHECK(*std::max_element(y.begin(), y.end()) == doctest::Approx(1.25));
  CHECK(dropped(0.2F, 1) == y);
  CHECK(dropped(0.2F, 2) != y);
  CHECK(!std::equal(y.begin(), y.begin() + 4000, y.begin() + 4000));  // samples have own keys
  CHECK(dropped(0, 1) == read(x));
}

TEST_CASE("classes") {
  Bench b;
  const float log3 = std::log(3.0F);
  const Tensor logits = b.floats({2, 2}, {0, log3, log3, 0});
  CHECK(near(softmax(b.tape, logits), {0.25F, 0.75F, 0.75F, 0.25F}));
  CHECK(near(softmax(b.tape, logits, 2, -1), {-0.5F, 0.5F, 0.5F, -0.5F}));
  CHECK(near(argmax(b.tape, logits), {1, 0}));
  const Tensor sure = b.floats({2, 2}, {0, 1, 0, 5});
  CHECK(near(argmax(b.tape, sure, {.confidence = 0.9F}), {-1, 1}));
  const Tensor probabilities = b.floats({2, 2}, {0.05F, 0.95F, 0.8F, 0.2F});
  CHECK(near(argmax(b.tape, probabilities, {.confidence = 0.9F, .probabilities = true}), {1, -1}));
  CHECK(
      near(one_hot(b.tape, b.integers({3}, {1, -1, 0}), 2, DType::f64, 5, 2), {2, 5, 2, 2, 5, 2}));
}

TEST_CASE("losses") {
  Bench b;
  const float log3 = std::log(3.0F);
  const Tensor logits = b.floats({3, 2}, {0, log3, log3, 0, 0, 0});
  const Tensor labels = b.integers({3}, {1, 1, -1});
  CHECK(near(cross_entropy_loss(b.tape, logits, labels),
             {-0.5F * (std::log(0.75F) + std::log(0.25F))}));
  // Class 0: I = 0, S = 0.0625 + 0.5625, Y = 0; class 1: I = 1, S = 0.625, Y = 2; smooth 0.5.
  CHECK(
      near(dice_loss(b.tape, logits, labels, 0.5F), {1 - 0.5F * (0.5F / 1.125F + 2.5F / 3.125F)}));
  const Tensor prediction = b.floats({2, 2}, {1, 2, 3, 4}), target = b.floats({2, 2}, {0, 0, 3, 2});
  CHECK(near(mean_squared_error(b.tape, prediction, target), {2.25F}));
  CHECK(near(mean_squared_error(b.tape, prediction, target, b.floats({2}, {2, 10})), {12.5F}));
  const ClassUse use =
      class_use(b.tape, b.floats({2, 2}, {0, log3, 0, log3}), b.floats({2}, {0.5F, 0.5F}));
  CHECK(near(use.use, {0.25F, 0.75F}));
  CHECK(near(use.entropy, {0.56233514F}));
  CHECK(near(use.loss, {0.13081204F}));  // log 2 less the entropy of (1/4, 3/4)
}

TEST_CASE("diffusion") {
  Bench b;
  const Tensor alpha_bar = b.floats({3}, {1, 0.64F, 0.36F}), t = b.integers({2}, {1, 2});
  const Tensor x = b.floats({2, 2}, {1, -1, 0.5F, 0});
  const Noised noised = forward_noise(b.tape, x, t, alpha_bar, b.keys(2), 3);
  const std::vector<double> z = read(noised.noise);
  CHECK(near(random_normal(b.tape, b.keys(2), 3, {2, 2}, DType::f64),
             {static_cast<float>(z[0]), static_cast<float>(z[1]), static_cast<float>(z[2]),
              static_cast<float>(z[3])}));
  const std::vector<double> x_t = read(noised.x_t);
  CHECK(x_t[0] == doctest::Approx(0.8 + 0.6 * z[0]));
  CHECK(x_t[1] == doctest::Approx(-0.8 + 0.6 * z[1]));
  CHECK(x_t[2] == doctest::Approx(0.3 + 0.8 * z[2]));
  CHECK(
      near(predict_clean(b.tape, noised.x_t, noised.noise, t, alpha_bar, -1, 1), {1, -1, 0.5F, 0}));
  CHECK(near(predict_clean(b.tape, noised.x_t, noised.noise, t, alpha_bar, -0.25F, 0.75F),
             {0.75F, -0.25F, 0.5F, 0}));

  // x0 = clamp(2 x_t - prediction), previous = 10 x0 + 1000 before + 100 x_t, without noise; in the
  // second row noise alone, of draw 7 + 1
  const ReverseProcess process{b.floats({2, 6}, {2, -1, 10, 1000, 100, 0, 0, 0, 0, 0, 0, 3}),
                               b.integers({2}, {5, 2}), b.integers({1}, {-1}),
                               b.integers({2}, {0, 0})};
  next_step(b.tape, process);
  CHECK(near(process.t, {5, 5}));
  const Reversed quiet =
      reverse_step(b.tape, x, b.floats({2, 2}, {1, 1, 0, -0.25F}), b.floats({2, 2}, {1, 0, 0, -1}),
                   process, b.keys(2), 0, -2, 0.75F);
  CHECK(near(quiet.x0, {0.75F, -2, 0.75F, 0.25F}));
  CHECK(near(quiet.x_prev, {1107.5F, -120, 57.5F, -997.5F}));
  next_step(b.tape, process);
  CHECK(near(process.t, {2, 2}));
  const Reversed drawn = reverse_step(b.tape, x, x, {}, process, b.keys(2), 7, -1, 1);
  const std::vector<double> noise = read(random_normal(b.tape, b.keys(2), 8, {2, 2}, DType::f64));
  for (std::size_t i = 0; i < 4; ++i) CHECK(read(drawn.x_prev)[i] == doctest::Approx(3 * noise[i]));

  const std::vector<double> times = read(random_timesteps(b.tape, b.keys(500), 1, 3, 7));
  for (const double value : {3.0, 4.0, 5.0, 6.0})
    CHECK(std::count(times.begin(), times.end(), value) > 80);
  CHECK(std::count_if(times.begin(), times.end(), [](double v) { return v < 3 || v > 6; }) == 0);
  CHECK(near(timestep_embedding(b.tape, b.integers({1}, {2}), 4, DType::f64),
             {std::sin(2.0F), std::sin(0.02F), std::cos(2.0F), std::cos(0.02F)}));
}
